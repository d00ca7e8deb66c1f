package postgres

import (
	"bytes"
	"fmt"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A lesson is what the grammar was asked, and what it said. It is for the call
// of Next that follows, so that a grammar which remembers little is not asked
// for ever.
type lesson struct {
	key     []byte
	meaning *sql.Meaning
}

// study has f called before the message is looked at again.
func (d *decoder) study(f func()) turn {
	d.client.step = decoders.Step{Op: decoders.Study, Study: f}
	return alone
}

// mean returns what the grammar says of a text, nil if it has no say: there is
// none, or the words alone were not understood. If study is not nil, it has to
// be called first.
func (d *decoder) mean(facts *sql.Facts) (meaning *sql.Meaning, study func()) {
	g := d.want.Grammar
	switch {
	case g == nil || facts.Unclassified != "":
		return nil, nil
	case facts.Statements == 0:
		return &sql.Meaning{}, nil
	case len(facts.Key) == 0:
		return &sql.Meaning{Unclear: "it has a name written as U&\"\" UESCAPE"}, nil
	}
	l := &d.learned
	if bytes.Equal(l.key, facts.Key) {
		l.key = nil
		return l.meaning, nil
	}
	if known, ok := g.Known(facts.Key); ok {
		return d.asMeaning(known), nil
	}
	return nil, func() {
		known := g.Study(facts.Key, facts.Skeleton())
		l.key, l.meaning = facts.Key, d.asMeaning(known)
	}
}

// asMeaning fails closed: a grammar of something else says nothing of SQL, and
// one that is newer than the server reads as syntax what may be a column there,
// or a call.
func (d *decoder) asMeaning(known any) *sql.Meaning {
	m, ok := known.(*sql.Meaning)
	if !ok || m == nil {
		return &sql.Meaning{Unclear: "the grammar says nothing of SQL"}
	}
	for i := range m.Statements {
		if since := m.Statements[i].Since; since > d.major {
			return &sql.Meaning{Unclear: fmt.Sprintf("it has words that are syntax since version %d of the server, and this one is older: quote names", since)}
		}
	}
	return m
}

// major returns the number that a server_version begins with, 0 if there is none.
func major(version []byte) int {
	n := 0
	for _, c := range version[:min(len(version), 4)] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// unclear says why the grammar did not understand a statement, "" if it did. A
// syntax error is no exception: the server may be newer than the grammar, and
// what it then takes was judged by nobody.
func unclear(m *sql.Meaning) string {
	if m.Unclear == "" {
		return ""
	}
	return "not understood by the grammar: " + m.Unclear
}
