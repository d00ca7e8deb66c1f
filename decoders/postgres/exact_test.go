package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentd.dev/decoders"
)

// A bound is what the binding of a request said.
type bound struct {
	text       string
	digest     [32]byte
	parameters []string
	open       bool
}

// A notary keeps what each request that says "delete" or "copy" would do, and
// refuses those of it that say "refuse".
type notary struct {
	mu  sync.Mutex // guards all
	all []bound
}

func (n *notary) judge(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
	text := strings.ToLower(string(ev.Text))
	if ev.Kind != decoders.Request || !strings.Contains(text, "delete") && !strings.Contains(text, "execute") && !strings.Contains(text, "copy") {
		return nil, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	b := bound{text: text}
	if ev.Binding != nil {
		b.digest, b.parameters, b.open = ev.Binding.Digest(), ev.Binding.Parameters(), ev.Binding.Open()
	}
	n.all = append(n.all, b)
	if strings.Contains(text, "refuse") {
		return &decoders.Refusal{Rule: "r"}, nil
	}
	return nil, nil
}

// last is what the newest of these would do.
func (n *notary) last() bound {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[len(n.all)-1]
}

// notarised returns a way to open sessions, and the notary of all of them.
func notarised(t *testing.T, params ...string) (open func(...string) *client, n *notary) {
	n = new(notary)
	p := startProxy(t, decoders.Want{Bindings: true, Grammar: newGrammar()}, n.judge, 0)
	t.Cleanup(func() {
		for _, err := range p.failures() {
			t.Error(err)
		}
	})
	c := dial(t, serverAddr(t), "postgres")
	c.run("create table if not exists notes (id int, note text)")
	return func(more ...string) *client {
		return dial(t, p.addr(), "postgres", append(slices.Clone(params), more...)...)
	}, n
}

const aDelete = "delete from notes where id = 1"

// Each way to come to the same statement says whether it is the same.
func TestADigestIsTheSameForTheSameAlone(t *testing.T) {
	open, notary := notarised(t)
	open().run(aDelete)
	want := notary.last().digest
	if want == [32]byte{} {
		t.Fatal("a plain statement has no digest")
	}
	seen := map[[32]byte]string{}
	for _, tt := range []struct {
		same   bool
		params []string
		run    []string
	}{
		{true, nil, []string{"DELETE  FROM notes /* traceparent='1' */ WHERE id = 1;"}},
		{true, []string{"application_name", "other"}, []string{aDelete}},
		{true, nil, []string{"select 1", "begin", "insert into notes values (1, 'x')", aDelete}},
		{true, nil, []string{"begin", "set local work_mem = '1MB'", "commit", aDelete}},
		{true, nil, []string{"set role nobody_there", aDelete}},
		{false, nil, []string{"delete from notes where id = 2"}},
		{false, nil, []string{aDelete + "; commit"}},
		{false, nil, []string{`delete from "notes" where id = 1`}},
		{false, nil, []string{"delete from notes where id = '1'"}},
		{false, []string{"options", "-c search_path=pg_catalog,public"}, []string{aDelete}},
		{false, []string{"search_path", "public"}, []string{aDelete}},
		{false, []string{"database", "template1"}, nil},
		{false, nil, []string{"set search_path = public", aDelete}},
		{false, nil, []string{"set app.tenant = '1'", aDelete}},
		{false, nil, []string{"set app.tenant = '2'", aDelete}},
		{false, nil, []string{"select set_config('app.tenant', '1', false)", aDelete}},
		{false, nil, []string{"set role postgres", aDelete}},
		{false, nil, []string{"set datestyle = 'german'", aDelete}},
		{false, nil, []string{"begin", "set local app.tenant = '1'", aDelete}},
		{false, nil, []string{"begin", "set local app.tenant = '1'", "commit and chain", aDelete}},
		{false, nil, []string{"begin", "savepoint s", "set local app.tenant = '1'", "rollback to s", aDelete}},
		{false, nil, []string{"begin", "set app.tenant = '1'", "rollback", aDelete}},
		{false, nil, []string{"begin", "set app.tenant = '1'", "select )", "rollback; set app.tenant = '5'", aDelete}},
		{false, nil, []string{"set app.tenant = '6'; commit; select )", aDelete}},
		{true, nil, []string{"begin", "set app.tenant = '1'", "select 1/0", "rollback", aDelete}},
		{false, nil, []string{"set app.tenant = '7'; select 1/0", aDelete}},
		{true, nil, []string{"set app.tenant = '7'; set role nobody_there", aDelete}},
		{false, nil, []string{"begin", "prepare q as select 1", "select )", "rollback", aDelete}},
		{false, nil, []string{"begin", "set local app.tenant = '1'", "savepoint s", "select )", "rollback to s", aDelete}},
		{false, nil, []string{"create temp table notes (id int)", aDelete}},
		{false, nil, []string{"do $$ begin perform set_config('role', 'postgres', false); end $$", aDelete}},
		{false, nil, []string{"discard all", aDelete}},
	} {
		if tt.run == nil {
			continue
		}
		c := open(tt.params...)
		for _, text := range tt.run {
			c.run(text)
		}
		got := notary.last().digest
		name := fmt.Sprint(tt.params, tt.run)
		if (got == want) != tt.same {
			t.Errorf("%s: the same is %v, want %v", name, got == want, tt.same)
		}
		if before, twice := seen[got]; twice && !tt.same {
			t.Errorf("%s is the same as %s", name, before)
		}
		seen[got] = name
		c.conn.Close()
	}
	// What two sessions have set alike means the same in both.
	var twice [2][32]byte
	for i := range twice {
		c := open()
		c.run("set app.tenant = '3'")
		c.run(aDelete)
		twice[i] = notary.last().digest
	}
	if twice[0] != twice[1] {
		t.Error("sessions that have set the same differ")
	}
}

// What was refused in a transaction is tried again.
func TestADigestIsTheSameWhenItIsTriedAgain(t *testing.T) {
	open, notary := notarised(t)
	for _, set := range []string{"select 1", "set local app.tenant = '1'", "set search_path = public", "set transaction isolation level serializable"} {
		for _, text := range []string{"delete from notes where note = 'refuse'", "create table refuse_delete (id int)"} {
			c := open()
			var got [2]bound
			for i := range got {
				c.run("begin")
				c.run(set)
				c.run(text)
				got[i] = notary.last()
				c.run([]string{"rollback", "commit"}[i])
			}
			if got[0].digest != got[1].digest || got[0].digest == [32]byte{} {
				t.Errorf("%s, %s: the second try differs", set, text)
			}
			if !got[0].open {
				t.Errorf("%s in a transaction is not open", text)
			}
		}
	}
}

func TestParametersAreInTheDigestAndAreShown(t *testing.T) {
	open, notary := notarised(t)
	const text = "delete from notes where id = $1 and note = $2"
	values := func(b ...any) []byte { return msg('B', b...) }
	var all []bound
	for _, bind := range [][]byte{
		values("", 0, "", 0, int16(0), int16(2), int32(1), "7", int32(1), "x", int16(0)),
		values("", 0, "", 0, int16(0), int16(2), int32(1), "8", int32(1), "x", int16(0)),
		values("", 0, "", 0, int16(0), int16(2), int32(1), "7", int32(-1), int16(0)),
		values("", 0, "", 0, int16(2), int16(1), int16(0), int16(2), int32(4), int32(7), int32(1), "x", int16(0)),
		values("", 0, "", 0, int16(0), int16(2), int32(1), "7", int32(2000), strings.Repeat("y", 2000), int16(0)),
		values("", 0, "", 0, int16(0), int16(2), int32(1), "7", int32(1), "x", int16(0)),
	} {
		c := open()
		c.send(join(parseMsg("", text), describeMsg('S', ""), msg('H')))
		c.until('n')
		c.send(join(bind, executeMsg(""), msg('S')))
		c.until('Z')
		all = append(all, notary.last())
	}
	for i, want := range []string{"7 x", "8 x", "7 NULL", "7 x", "7 " + strings.Repeat("y", 1024) + "...", "7 x"} {
		if got := strings.Join(all[i].parameters, " "); got != want {
			t.Errorf("parameters %q, want %q", got, want)
		}
		if all[i].open {
			t.Errorf("a statement by itself is open")
		}
		for j := range i {
			if same := all[i].digest == all[j].digest; same != (i == 5 && j == 0) {
				t.Errorf("%d and %d are the same: %v", i, j, same)
			}
		}
	}
}

func TestWhatIsOpenIsTold(t *testing.T) {
	open, notary := notarised(t)
	one := join(parseMsg("", aDelete), bindMsg("", ""), executeMsg(""))
	for _, tt := range []struct {
		name string
		send []byte
		want bool
	}{
		{"query", msg('Q', aDelete, 0), false},
		{"begin in the same query", msg('Q', "begin; "+aDelete, 0), false},
		{"after begin", join(msg('Q', "begin", 0), msg('Q', aDelete, 0)), true},
		{"after a transaction", join(msg('Q', "begin", 0), msg('Q', "commit", 0), msg('Q', aDelete, 0)), false},
		{"extended", join(one, msg('S')), false},
		{"second of a pipeline", join(parseMsg("", "select 1"), bindMsg("", ""), executeMsg(""), one, msg('S')), true},
		{"second, after a flush", join(parseMsg("", "select 1"), bindMsg("", ""), executeMsg(""), msg('H'), one, msg('S')), true},
		{"after another sync", join(parseMsg("", "select 1"), bindMsg("", ""), executeMsg(""), msg('S'), one, msg('S')), false},
		{"query behind a pipeline", join(parseMsg("", "select 1"), bindMsg("", ""), executeMsg(""), msg('Q', aDelete, 0)), true},
	} {
		c := open()
		c.send(join(tt.send, msg('Q', "rollback; select 'the end'", 0)))
		for end := false; !end; {
			r, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			end = strings.Contains(string(r.body), "the end")
		}
		c.conn.Close()
		if got := notary.last().open; got != tt.want {
			t.Errorf("%s: open is %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWhatPreparedStatementsRunIsShown(t *testing.T) {
	open, notary := notarised(t)
	c := open()
	c.send(join(parseMsg("p", "delete from notes where id = 100"), msg('S')))
	c.until('Z')
	c.run("execute p")
	first := notary.last()
	if got := strings.Join(first.parameters, " "); !strings.Contains(got, "id = 100") {
		t.Errorf("EXECUTE shows %q", got)
	}
	c = open()
	c.send(join(parseMsg("p", "delete from notes where id = 101"), msg('S')))
	c.until('Z')
	c.run("execute p")
	if notary.last().digest == first.digest {
		t.Error("EXECUTE of another text is the same")
	}
	c = open()
	c.run("prepare p as delete from notes where id = 102")
	c.run("execute p")
	if got := strings.Join(notary.last().parameters, " "); !strings.Contains(got, "not shown") {
		t.Errorf("EXECUTE of what is not known shows %q", got)
	}
	c = open()
	c.send(msg('Q', "copy notes from stdin", 0))
	c.until('G')
	if got := strings.Join(notary.last().parameters, " "); !strings.Contains(got, "not seen") {
		t.Errorf("COPY shows %q", got)
	}
}

func TestWithoutAskingPeopleNothingIsKept(t *testing.T) {
	p := startProxy(t, decoders.Want{}, func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
		if ev.Binding != nil {
			t.Errorf("%s has a binding", ev.Text)
		}
		return nil, nil
	}, 0)
	dial(t, p.addr(), "postgres").run("select 1")
}

// What was prepared or bound under other settings keeps the meaning that it had
// then, whatever is set when it runs.
func TestADigestIsOfWhatWasInForceWhenItWasPlanned(t *testing.T) {
	open, notary := notarised(t)
	set := msg('Q', "set local app.tenant = '1'", 0)
	begin := msg('Q', "begin", 0)
	parse, bind, run := parseMsg("s", aDelete), join(msg('B', "p", 0, "s", 0, int16(0), int16(0), int16(0))), join(executeMsg("p"), msg('S'))
	seen := map[[32]byte]string{}
	for name, turns := range map[string][][]byte{
		"set first":  {begin, set, join(parse, bind, run)},
		"then bound": {begin, join(parse, msg('S')), set, join(bind, run)},
		"then run":   {begin, join(parse, bind, msg('S')), set, run},
	} {
		c := open()
		for _, turn := range turns {
			c.send(turn)
			c.until('Z')
		}
		c.conn.Close()
		got := notary.last().digest
		if before, twice := seen[got]; twice || got == [32]byte{} {
			t.Errorf("%s is the same as %q", name, before)
		}
		seen[got] = name
	}
}
