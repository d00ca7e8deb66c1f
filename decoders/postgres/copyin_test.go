package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
)

// A server that copies in ignores Sync, but not once it has failed over the
// data that came before, which nobody knows as the Sync is sent. What comes
// behind must not be taken for discarded: it would be recorded as skipped, and
// run without its limits.
func TestASyncAmongCopiedDataLeavesNoDoubtWhatIsDiscarded(t *testing.T) {
	p, c := session(t, decoders.Want{})
	c.run("create temp table o (i int)")
	c.send(join(parseMsg("", "copy o from stdin"), bindMsg("", ""), executeMsg(""), msg('H')))
	c.until('G')
	c.send(join(msg('d', "no number\n"), syncMsg()))
	if r := c.until('E'); field(r[len(r)-1].body, 'C') != "22P02" {
		t.Fatalf("%v, want the data refused", r)
	}
	p.reset()
	// The server never got that Sync: it discards this, and the record says so.
	c.send(join(parseMsg("", "insert into o values (1)"), bindMsg("", ""), executeMsg(""), syncMsg()))
	c.ready(1)
	c.send(join(parseMsg("", "insert into o values (2), (3)"), bindMsg("", ""), executeMsg(""), syncMsg()))
	c.ready(1)
	if got := values(c.run("select count(*) from o")); !slices.Equal(got, []string{"2"}) {
		t.Errorf("%v rows, want 2", got)
	}
	var outcomes []string
	for _, s := range p.seen(decoders.Outcome) {
		outcome := s.ev.Result.Tag
		if s.ev.Result.Skipped {
			outcome = "skipped"
		}
		outcomes = append(outcomes, outcome)
	}
	if want := []string{"skipped", "INSERT 0 2", "SELECT 1"}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %q, want %q", outcomes, want)
	}
}

func TestASyncAmongDataThatIsCopiedIsIgnored(t *testing.T) {
	_, c := session(t, decoders.Want{})
	c.run("create temp table o (i int)")
	c.send(join(parseMsg("", "copy o from stdin"), bindMsg("", ""), executeMsg(""), syncMsg())) // as libpq has it
	c.until('G')
	c.send(join(msg('d', "1\n"), syncMsg(), msg('d', "2\n"), syncMsg(), msg('c'), syncMsg()))
	c.ready(1)
	if got := values(c.run("select count(*) from o")); !slices.Equal(got, []string{"2"}) {
		t.Errorf("%v rows, want 2", got)
	}
}

// The same doubt, where the Sync went out before it was known that a COPY runs.
func TestDataAndSyncBeforeACopyIsKnownEndTheSession(t *testing.T) {
	p := startProxy(t, decoders.Want{}, allow, 0)
	c := dial(t, p.addr(), "postgres")
	c.run("create temp table o (i int)")
	c.send(join(parseMsg("", "copy o from stdin"), bindMsg("", ""), executeMsg(""), msg('d', "no number\n"), syncMsg()))
	if r := c.until('E'); !strings.Contains(field(r[len(r)-1].body, 'M'), "before it could know that data is copied in") {
		t.Errorf("%v, want the session ended for that", r)
	}
}
