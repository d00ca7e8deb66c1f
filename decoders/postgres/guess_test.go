package postgres_test

import (
	"slices"
	"sync"
	"testing"

	"agentd.dev/decoders"
)

// A guesser refuses what guesses, and remembers what that was.
type guesser struct {
	mu      sync.Mutex
	refused []string
}

func (g *guesser) judge(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.ContainsFunc(ev.Exposures, func(e decoders.Exposure) bool { return e.Risk == decoders.Guesses }) {
		g.refused = append(g.refused, string(ev.Text))
		return &decoders.Refusal{Rule: "r"}, nil
	}
	return nil, nil
}

// What a pipeline renames has another name than the catalogue's for what is
// behind it, until the server is asked again.
func TestAWriteBehindADefinitionInAPipelineCountsAsAGuess(t *testing.T) {
	database := people(t)
	direct := dial(t, serverAddr(t), database)
	direct.run("create table keyed (id int, code text unique)")
	direct.run("create table refers (id int, code text references keyed (code))")
	want := decoders.Want{Grammar: newGrammar(), Columns: []decoders.ColumnName{{Schema: "public", Table: "keyed", Column: "code"}}}
	pipelined := func(text string) []byte { return join(parseMsg("", text), bindMsg("", ""), executeMsg("")) }
	for _, tt := range []struct {
		name    string
		send    []byte
		ready   int
		refused []string
	}{
		{"a table that is renamed", join(pipelined("alter table refers rename to other"), pipelined("insert into other values (1, 'x')"), syncMsg()), 1, []string{"insert into other values (1, 'x')"}},
		{"and afterwards", join(pipelined("insert into refers (id) values (1)"), pipelined("insert into refers values (1, 'x')"), syncMsg()), 1, []string{"insert into refers values (1, 'x')"}},
		{"in messages of their own", join(msg('Q', "alter table refers rename to other", 0), msg('Q', "insert into other values (1, 'x')", 0)), 2, []string{"insert into other values (1, 'x')"}},
		{"once it has its name", msg('Q', "insert into other (id, code) values (1, 'x')", 0), 1, []string{"insert into other (id, code) values (1, 'x')"}},
		{"what has nothing to do with it", join(pipelined("create table fresh (id int)"), pipelined("insert into fresh values (1)"), syncMsg()), 1, nil},
	} {
		g := &guesser{}
		p := startProxy(t, want, g.judge, 0)
		c := dial(t, p.addr(), database)
		c.send(tt.send)
		c.ready(tt.ready)
		g.mu.Lock()
		if got := slices.Compact(g.refused); !slices.Equal(got, tt.refused) {
			t.Errorf("%s: refused %q, want %q", tt.name, got, tt.refused)
		}
		g.mu.Unlock()
	}
}
