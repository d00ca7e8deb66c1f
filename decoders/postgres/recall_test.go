package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
)

// swap is a block that puts another statement behind a name, which nobody sees.
const swap = `do $$begin execute 'deallocate s1'; execute 'prepare s1 as select ''the other'''; end$$`

// What DO puts behind the name of a prepared statement does not run as what
// the client had prepared, and what it left alone does.
func TestAStatementThatABlockHasReplacedIsNotTakenForTheOldOne(t *testing.T) {
	for _, tt := range []struct {
		name string
		swap func(c *client)
	}{
		{"query", func(c *client) { c.run(swap) }},
		{"extended", func(c *client) {
			c.send(join(parseMsg("", swap), bindMsg("", ""), executeMsg(""), syncMsg()))
			c.ready(1)
		}},
		{"in a transaction", func(c *client) { c.run("begin"); c.run(swap); c.run("commit") }},
		{"undone", func(c *client) { c.run("begin"); c.run(swap); c.run("rollback") }},
		{"failed", func(c *client) { c.run(strings.Replace(swap, "end$$", "perform 1/0; end$$", 1)) }},
		{"with a query behind", func(c *client) {
			c.send(join(msg('Q', swap, 0), msg('Q', "select 1", 0)))
			c.ready(2)
		}},
	} {
		p, c := session(t, decoders.Want{})
		c.send(join(parseMsg("s1", "select 'the first'"), parseMsg("s2", "select 'the second'"), syncMsg()))
		c.ready(1)
		tt.swap(c)
		p.reset()
		for _, is := range [][2]string{{"s2", "the second"}, {"s1", "the other"}} {
			statement, want := is[0], is[1]
			c.send(join(bindMsg("", statement), executeMsg(""), syncMsg()))
			got := values(c.ready(1))
			if !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %s shows %q, want %q", tt.name, statement, got, want)
			}
			ev := p.seen(decoders.Request)[0].ev
			if known := strings.Contains(string(ev.Text), want); known != (statement == "s2") || known == (ev.Unclassified != "") {
				t.Errorf("%s: of %s it is asked %q (%s)", tt.name, statement, ev.Text, ev.Unclassified)
			}
			p.reset()
		}
	}
}

// In the same pipeline nothing is guessed.
func TestBehindABlockInAPipelineNamesAreNotKnown(t *testing.T) {
	p, c := session(t, decoders.Want{})
	c.send(join(parseMsg("s1", "select 'the first'"), syncMsg()))
	c.ready(1)
	p.reset()
	c.send(join(parseMsg("", swap), bindMsg("", ""), executeMsg(""), bindMsg("", "s1"), executeMsg(""), syncMsg()))
	c.ready(1)
	if evs := p.seen(decoders.Request); len(evs) != 2 || evs[1].ev.Unclassified == "" {
		t.Errorf("%v, want s1 unclassified", evs)
	}
	c.send(join(parseMsg("", "select 1"), bindMsg("", ""), executeMsg(""), syncMsg()))
	if got := values(c.ready(1)); !slices.Equal(got, []string{"1"}) {
		t.Errorf("then %q, want 1", got)
	}
}
