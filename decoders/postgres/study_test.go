package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/decodertest"
	"agentd.dev/decoders/postgres"
	"agentd.dev/decoders/sql"
)

// A script is a grammar that knows what it was told, by the first words of a
// text. What it was never told means nothing in particular.
type script struct {
	// forgets: nothing is remembered, as in a cache that others fill.
	forgets bool

	mu      sync.Mutex // guards the rest
	says    map[string]*sql.Meaning
	known   map[string]*sql.Meaning
	studied []string // texts, in order
}

func (s *script) Known(key []byte) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.known[string(key)]
	return m, ok
}

func (s *script) Study(key []byte, text string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &sql.Meaning{}
	for words, says := range s.says {
		if strings.HasPrefix(text, words) {
			m = says
		}
	}
	s.studied = append(s.studied, text)
	if !s.forgets {
		if s.known == nil {
			s.known = map[string]*sql.Meaning{}
		}
		s.known[string(key)] = m
	}
	return m
}

// asked returns the texts that were studied.
func (s *script) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.studied)
}

// learn changes what the grammar says.
func (s *script) learn(says map[string]*sql.Meaning) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says = says
}

func TestAStatementIsStudiedOnceAndThenKnown(t *testing.T) {
	g := &script{}
	_, c := session(t, decoders.Want{Grammar: g})
	for i := range 5 {
		c.send(msg('Q', fmt.Sprintf("select %d", i), 0))
		c.ready(1)
		c.send(join(parseMsg("", "select $1::int"), bindMsg("", ""), syncMsg()))
		c.ready(1)
	}
	if got := g.asked(); len(got) != 2 {
		t.Errorf("studied %q, want two texts", got)
	}
}

func TestAGrammarThatForgetsIsAskedAgainButNotForEver(t *testing.T) {
	g := &script{forgets: true}
	_, c := session(t, decoders.Want{Grammar: g})
	for i := range 12 {
		c.send(msg('Q', fmt.Sprintf("select %d as c%d", i, i%4), 0))
		if got := c.ready(1); got[0].typ != 'T' {
			t.Fatalf("statement %d was answered by %v", i, got)
		}
	}
	if got := g.asked(); len(got) != 12 {
		t.Errorf("studied %q, want each of 12 statements once", got)
	}
}

func TestWhatTheGrammarCannotTellIsUnclassified(t *testing.T) {
	g := &script{says: map[string]*sql.Meaning{
		"select 1 as slow":    {Unclear: "it took too long"},
		"select 1 as strange": {Unclear: "syntax error at or near \"as\"", Syntax: true},
	}}
	p, c := session(t, decoders.Want{Grammar: g})
	for _, tt := range []struct{ text, want string }{
		{"select 1", ""},
		{"select 1 as slow", "not understood by the grammar: it took too long"},
		{"select 1 as strange", `not understood by the grammar: syntax error at or near "as"`},
		{"select 1; bogus", "a statement that starts with no known verb"},
		{"", ""},
	} {
		c.send(msg('Q', tt.text, 0))
		c.ready(1)
		c.send(join(parseMsg("", tt.text), syncMsg()))
		c.ready(1)
		evs := p.seen(decoders.Request | decoders.Prepare)
		for _, e := range evs[len(evs)-2:] {
			if got := e.ev.Facts.Field("sql.unclassified"); got != tt.want {
				t.Errorf("%s of %q: sql.unclassified is %q, want %q", e.ev.Kind, tt.text, got, tt.want)
			}
			if e.ev.Unclassified != tt.want {
				t.Errorf("%s of %q: unclassified %q, want %q", e.ev.Kind, tt.text, e.ev.Unclassified, tt.want)
			}
		}
	}
}

func TestWhatAnOlderServerReadsInAnotherWayIsUnclassified(t *testing.T) {
	g := &script{says: map[string]*sql.Meaning{
		"select 1 as old":    {Statements: []sql.Statement{{Since: 9}}},
		"select 1 as future": {Statements: []sql.Statement{{}, {Since: 999}}},
	}}
	p, c := session(t, decoders.Want{Grammar: g})
	for _, tt := range []struct {
		text    string
		unclear bool
	}{{"select 1 as old", false}, {"select 1 as future", true}} {
		c.run(tt.text)
		evs := p.seen(decoders.Request)
		if got := evs[len(evs)-1].ev.Unclassified; (got != "") != tt.unclear {
			t.Errorf("%q is unclassified: %q, want that to be %v", tt.text, got, tt.unclear)
		}
	}
}

func TestWhatWasUnclearOnceIsStudiedAgain(t *testing.T) {
	g := &script{forgets: true, says: map[string]*sql.Meaning{"select": {Unclear: "it took too long"}}}
	p, c := session(t, decoders.Want{Grammar: g})
	c.run("select 1")
	g.learn(nil)
	c.run("select 1")
	if evs := p.seen(decoders.Request); evs[0].ev.Unclassified == "" || evs[1].ev.Unclassified != "" {
		t.Errorf("unclassified %q, then %q; want the second to be understood", evs[0].ev.Unclassified, evs[1].ev.Unclassified)
	}
}

func TestPipelinedStatementsAreStudiedInOrder(t *testing.T) {
	g := &script{}
	p, c := session(t, decoders.Want{Grammar: g})
	var all []byte
	for i := range 20 {
		all = append(all, join(parseMsg("", fmt.Sprintf("select 1 as c%d", i)), bindMsg("", ""), executeMsg(""))...)
		all = append(all, msg('Q', fmt.Sprintf("select 2 as c%d", i), 0)...)
	}
	c.send(join(all, syncMsg()))
	c.ready(21)
	for i, e := range p.seen(decoders.Request) {
		if want := fmt.Sprintf("select %d as c%d", 1+i%2, i/2); string(e.ev.Text) != want {
			t.Errorf("request %d is %q, want %q", i, e.ev.Text, want)
		}
	}
}

func TestPromisesHoldWithAGrammar(t *testing.T) {
	database, _ := twins(t)
	conversations := record(t, decoders.Want{}, database)
	for name, g := range map[string]*script{"remembers": {}, "forgets": {forgets: true}} {
		t.Run(name, func(t *testing.T) {
			decodertest.Run(t, postgres.Protocol, conversations, decodertest.Options{
				Want: decoders.Want{Grammar: g}, Server: realServer(t), MaxMore: 65 << 20, Refused: refusedInWords,
			})
		})
	}
}
