package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// The limits of a session are the server's own settings: agentd gives them in
// the StartupMessage, where they outrank those of the server, the database and
// the user, and are what RESET goes back to. Statements that would change them
// are asked about as such, and ones of which that cannot be told, too.
// docs/decisions/0021-time-out.md.

const (
	timeSetting  = "statement_timeout"
	writeSetting = "default_transaction_read_only"
	thisWrites   = "transaction_read_only"
)

// bounds are a session's.
type bounds struct {
	login        []byte // the client's StartupMessage, while it is asked about
	time, writes decoders.Limit
	// known: the server has told what the setting is, which it does since
	// version 14.
	known bool
}

// bounded answers the login with yes, within limits: what goes to the server in
// its place.
func (d *decoder) bounded(limits *decoders.Limits) ([]byte, error) {
	if d.replication {
		return nil, errors.New("the server does not keep limits of replication connections: connect without the replication parameter")
	}
	b := &d.bounds
	set := map[string]string{}
	if limits.Time.Set() {
		set[timeSetting] = strconv.FormatInt(limits.Time.Max, 10)
	}
	if limits.Writes.Set() {
		set[writeSetting] = "on"
	}
	msg := b.login
	if d.want.Account != nil {
		msg = bytes.Clone(d.client.out) // agentd's own, which replace sends
	}
	out := preset(nil, msg, set)
	if len(out) > maxStartup {
		return nil, fmt.Errorf("the start-up message has %d bytes with what agentd adds, and a server takes %d", len(out), maxStartup)
	}
	b.time, b.writes, b.login = limits.Time, limits.Writes, nil
	d.client.out = out
	if d.want.Account != nil {
		return nil, nil
	}
	return out, nil
}

// preset appends a StartupMessage with other parameters than those of the same
// names, which the server knows in upper and lower case.
func preset(dst, msg []byte, set map[string]string) []byte {
	from := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, msg[4:8]...)
	for p := range parameters(msg) {
		if _, ours := set[strings.ToLower(string(p.name))]; !ours {
			dst = append(append(append(append(dst, p.name...), 0), p.value...), 0)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		dst = append(append(append(append(dst, name...), 0), plain(set[name])...), 0)
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[from:], uint32(len(dst)-from))
	return dst
}

// loosening says what a statement would do to the limits of its session. It
// fails closed: what is not understood may do anything.
func (d *decoder) loosening(r *reading) decoders.Loosens {
	switch {
	case !d.want.Bounds:
		return decoders.Loosens{}
	case r.unclassified != "" || r.facts == nil || r.meaning == nil && r.facts.Statements > 0:
		return both("could change that, as far as agentd understands it")
	}
	return r.loosens
}

func both(how string) decoders.Loosens { return decoders.Loosens{Time: how, Writes: how} }

// loosens says what a statement that was understood would do.
func (d *decoder) loosens(f *sql.Facts, m *sql.Meaning) (l decoders.Loosens) {
	if m == nil || !d.want.Bounds {
		return l
	}
	for i := range m.Statements {
		st := &m.Statements[i]
		switch {
		case runsText(st):
			return both("runs code that agentd does not see")
		case slices.ContainsFunc(st.Tables, func(t sql.Table) bool { return t.Write && t.Table == "pg_settings" }):
			return both("changes settings")
		case st.Copy == "program", st.Copy == "file" && !slices.ContainsFunc(st.Tables, func(t sql.Table) bool { return t.Write }):
			l.Writes = "writes to a file or runs a program"
		}
		if len(st.Sets) == 0 || reverts(st) {
			continue
		}
		anything := slices.Contains(st.Sets, "*")
		if anything || slices.Contains(st.Sets, timeSetting) {
			l.Time = "could change that"
		}
		if anything || anyOf(st.Sets, []string{writeSetting, thisWrites}) && !narrows(f.Normalized) {
			l.Writes = "could change that"
		}
	}
	if len(m.Statements) > 1 && anyOf(f.Verbs, ends) && slices.ContainsFunc(m.Statements, callsStranger) {
		// A change of the setting is told when the whole query has ended.
		l.Writes = "ends a transaction and calls a function that is not PostgreSQL's own: send it in queries of their own"
	}
	return l
}

// reverts reports whether a statement takes settings back to what the session
// began with.
func reverts(st *sql.Statement) bool {
	return st.Kind == "DiscardStmt" || st.Kind == "VariableSetStmt" && slices.Equal(st.Verbs, []string{"reset"})
}

// narrows reports whether all that a text does to whether transactions write is
// READ ONLY, in the words of BEGIN and SET TRANSACTION.
func narrows(normalized string) bool {
	return strings.Contains(normalized, "read only") && !strings.Contains(normalized, "read write") &&
		!strings.Contains(normalized, thisWrites) && !strings.Contains(normalized, `"`)
}

// runsText reports whether a statement runs what is in a literal. Definitions
// of functions do not: they are run by others, as EXECUTE and CALL run what is
// there already.
func runsText(st *sql.Statement) bool {
	if slices.ContainsFunc(st.Functions, func(f sql.Qualified) bool { return strings.Contains(f.Name, "_to_xml") || readers[f.Name] }) {
		return true
	}
	return st.Opaque && !st.DDL && !(st.Kind == "ExecuteStmt" && len(st.Functions) == 0) && !(st.Kind == "CallStmt" && len(st.Functions) <= 1)
}

// callsStranger reports whether a statement calls what may change settings.
func callsStranger(st sql.Statement) bool {
	return anyOf(st.Verbs, []string{"call", "execute"}) || slices.ContainsFunc(st.Functions, func(f sql.Qualified) bool {
		return f.Schema != "" && f.Schema != "pg_catalog" || builtin(f.Name) == stranger
	})
}

// orderly reports whether what comes behind a query that the server has not
// ended has to wait: in a session that must not write, the server's word that
// it now may has to be heard first.
func (d *decoder) orderly() bool {
	return d.bounds.writes.Set() && !d.copying && d.readyIsDue()
}

// kept looks at a setting that the server tells of. Whatever changed it, the
// session is over before anything else runs.
func (b *bounds) kept(value []byte) error {
	if !b.writes.Set() {
		return nil
	}
	b.known = true
	if string(value) == "on" {
		return nil
	}
	return decoders.Refusal{
		Rule:   b.writes.Rule,
		Reason: b.writes.Reason + " The session was made one that may, and ends.",
		Hint:   "A function did that, or a pooler that is in between leaves out what agentd sets at the start.",
	}
}

// assured reports an error of a server that did not say that it keeps the
// session's limits, though it would.
func (d *decoder) assured() error {
	if b := &d.bounds; b.writes.Set() && !b.known && d.major >= 14 {
		return decoders.Refusal{
			Rule:   b.writes.Rule,
			Reason: b.writes.Reason + " The server did not say that it keeps to that.",
			Hint:   "A pooler that is in between may leave out " + writeSetting + ".",
		}
	}
	return nil
}

// names returns the rule of the limit that an error of the server speaks of,
// "" if none.
func (b *bounds) names(f failure) string {
	switch {
	case string(f.code) == "25006":
		return b.writes.Rule
	case string(f.code) == "57014" && bytes.Contains(f.message, []byte("statement timeout")):
		return b.time.Rule
	}
	return ""
}

// credited appends an ErrorResponse that is the one with the body, with the rule
// behind its message.
func credited(dst, body []byte, rule string) []byte {
	from := len(dst)
	dst = begin(dst, 'E')
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cstring(body[1:])
		if !ok {
			break
		}
		dst = append(append(dst, body[0]), value...)
		if body[0] == 'M' {
			dst = append(append(append(dst, " (agentd, rule "...), rule...), ')')
		}
		dst, body = append(dst, 0), rest
	}
	return finish(append(dst, 0), from)
}
