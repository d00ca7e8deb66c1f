package postgres

import (
	"crypto/sha256"
	"hash"
	"maps"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

const (
	maxFootingRow = 64 << 10
	// maxHarmless is how many names a session remembers to change nothing.
	maxHarmless = 1 << 10
	// anyCode stands for code of which nothing is known.
	anyCode = "*"
)

// A footing is what the server says is in force in a session: settings, role and
// temporary relations. Statements can change them without a word of it, by a
// view, a trigger, a policy, a cast or an operator of the database's own; and so
// can ALTER ROLE for sessions that begin after it. So the server is asked in
// sessions that people may be asked about: at login, and at the ReadyForQuery
// after whatever names something that has not been seen to change nothing.
type footing struct {
	question
	wanted bool
	stale  bool // settings were changed in so many words
	inside bool // what was learned in a transaction may be undone with it
	// touched are the names by which code may have run since it was asked,
	// harmless those that have been there before, and changed nothing.
	touched, harmless map[string]bool
	later             map[string]bool // what may still run in this transaction

	names map[*sql.Meaning][]string // in texts
	next  hash.Hash                 // while the server answers
	sum   [sha256.Size]byte
}

// footingText asks for it. Of what it asks, no search_path changes the meaning.
const footingText = `/* agentd: what is in force */
SELECT name, coalesce(setting, '') FROM pg_catalog.pg_settings
WHERE source OPERATOR(pg_catalog.=) ANY (ARRAY['session', 'client', 'user', 'database', 'database user']::pg_catalog.text[])
  AND name OPERATOR(pg_catalog.<>) ALL (ARRAY['application_name', 'jit', 'transaction_isolation', 'transaction_read_only', 'transaction_deferrable']::pg_catalog.text[])
UNION ALL SELECT 'current user', current_user::pg_catalog.text
UNION ALL SELECT 'session user', session_user::pg_catalog.text
UNION ALL SELECT 'temporary ' OPERATOR(pg_catalog.||) oid::pg_catalog.text, relname::pg_catalog.text FROM pg_catalog.pg_class
  WHERE pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
ORDER BY 1, 2`

// touches notes a statement that is sent now.
func (d *decoder) touches(r *reading) {
	f, s := &d.footing, &d.settings
	touch := func(name string) {
		if !f.harmless[name] || s.changed.own != "" || s.tentative {
			if f.touched == nil {
				f.touched = map[string]bool{}
			}
			f.touched[name] = true
		}
	}
	if how, _ := setting(r); how == sets {
		f.stale = true
	} else if how == anythingAtAll || r.effect&settles != 0 && (f.inside || s.tentative) {
		touch(anyCode)
	}
	if r.meaning == nil {
		return
	}
	for _, name := range f.named(r.meaning) {
		if len(f.touched)+len(f.later) > maxHarmless {
			touch(anyCode)
			return
		}
		touch(name)
		f.defers(name)
	}
	if r.effect&settles != 0 || slices.ContainsFunc(r.meaning.Statements, fetches) {
		for name := range f.later {
			touch("later " + name)
		}
	}
}

// defers notes a name of which code may run later in the transaction: when a
// cursor is read, or by a deferred trigger when it ends.
func (f *footing) defers(name string) {
	if strings.HasPrefix(name, "read ") {
		return
	}
	if f.later == nil {
		f.later = map[string]bool{}
	}
	f.later[name] = true
}

func fetches(st sql.Statement) bool { return st.Kind == "FetchStmt" }

// named returns the names in a text by which code of the database's own may run.
// The slice is the same for the same meaning.
func (f *footing) named(m *sql.Meaning) []string {
	if names, known := f.names[m]; known {
		return names
	}
	var names []string
	add := func(what string, q sql.Qualified) {
		if q.Schema != "pg_catalog" && q.Schema != "information_schema" {
			names = append(names, what+" "+q.Schema+"\x00"+q.Name)
		}
	}
	for i := range m.Statements {
		st := &m.Statements[i]
		for _, t := range st.Tables {
			what := "read"
			if t.Write || st.Kind == "DeclareCursorStmt" {
				what = st.Kind
			}
			add(what, sql.Qualified{Schema: t.Schema, Name: t.Table})
		}
		for _, q := range st.Types {
			add("type", q)
		}
		for _, q := range st.Operators {
			add("operator", q)
		}
	}
	if f.names == nil || len(f.names) >= maxResolved {
		f.names = map[*sql.Meaning][]string{}
	}
	f.names[m] = names
	return names
}

// outdated reports whether the server has to be asked sooner or later.
func (f *footing) outdated() bool {
	return f.wanted && (f.stale || f.inside || len(f.touched) > 0)
}

// due reports whether the server is to be asked now, when it is ready with that
// status. After SET in a transaction it is not: what may follow, as SET
// TRANSACTION, is possible only before the first query.
func (f *footing) due(status byte) bool {
	return f.outdated() && (status == 'I' || status == 'T' && len(f.touched) > 0)
}

// standing is what is in force, as far as it is known, and what may have changed
// it since.
func (f *footing) standing() [sha256.Size]byte {
	if len(f.touched) == 0 {
		return f.sum
	}
	h := summer{sha256.New()}
	h.part(f.sum[:])
	for _, name := range slices.Sorted(maps.Keys(f.touched)) {
		h.part(name)
	}
	return [sha256.Size]byte(h.Sum(nil)) // on the heap only here
}

// askFooting drops n bytes and asks the server what is in force.
func (d *decoder) askFooting(n int) decoders.Step {
	d.catalogue.half = false
	d.footing.next = sha256.New()
	return d.pose(&d.footing.question, "what is in force", footingText, n)
}

// learnFooting handles the answer, and lets the client go on.
func (d *decoder) learnFooting(m message) (turn, error) {
	f := &d.footing
	t, done, err := d.hear(&f.question, m, maxFootingRow, func(body []byte) error {
		summer{f.next}.part(body)
		return nil
	})
	if !done || err != nil {
		return t, err
	}
	sum := [sha256.Size]byte(f.next.Sum(nil))
	if sum == f.sum {
		f.learnHarmless()
	}
	f.inside = m.buf[headerLen] != 'I' && (f.inside || sum != f.sum)
	f.stale = f.stale && m.buf[headerLen] != 'I'
	f.sum, f.next = sum, nil
	clear(f.touched)
	d.phase = running
	d.tellAnswer(&f.question)
	return tell, nil
}

// settled is the turn after the answer to another question, at the ReadyForQuery
// m.
func (d *decoder) settled(m message) turn {
	if !d.footing.due(m.buf[headerLen]) {
		return tell
	}
	d.phase = footed
	return d.half(tell)
}

// learnHarmless notes that what was touched has changed nothing.
func (f *footing) learnHarmless() {
	if f.harmless == nil || len(f.harmless)+len(f.touched) > maxHarmless {
		f.harmless = map[string]bool{}
	}
	maps.Copy(f.harmless, f.touched)
	delete(f.harmless, anyCode)
}
