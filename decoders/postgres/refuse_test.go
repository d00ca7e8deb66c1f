package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"agentd.dev/decoders"
)

// refuseMarked refuses whatever runs or, with "prepare", prepares a text that
// says so.
func refuseMarked(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
	text := string(ev.Text)
	refused := ev.Kind == decoders.Request && (strings.Contains(text, "refuse_request") || strings.Contains(ev.Unclassified, "OID")) ||
		ev.Kind == decoders.Prepare && strings.Contains(text, "refuse_prepare")
	if !refused {
		return nil, nil
	}
	return &decoders.Refusal{Rule: "no-such;thing'", Reason: "not this one", Hint: "ask a person"}, nil
}

// twins makes two databases with equal tables, OIDs included.
func twins(t testing.TB) (direct, relayed string) {
	t.Helper()
	name := strings.ToLower(t.Name())
	admin := dial(t, serverAddr(t), "postgres")
	must := func(text string) {
		t.Helper()
		if r := admin.run(text); r[0].typ == 'E' {
			t.Fatalf("%s: %s", text, field(r[0].body, 'M'))
		}
	}
	must("CREATE DATABASE " + name)
	c := dial(t, serverAddr(t), name)
	c.run("CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t SELECT i, 'note ' || i FROM generate_series(1, 5) i")
	c.conn.Close()
	must("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'")
	must("CREATE DATABASE " + name + "_twin TEMPLATE " + name)
	return name, name + "_twin"
}

// A step is what a client does, once so that it fails at the server and once
// so that agentd refuses it.
type step struct {
	name            string
	failing, marked []byte
}

func both(name string, b []byte) step { return step{name, b, b} }

// failures are the ways to fail, with the refusal that must look the same.
var failures = []step{
	{"refused query", msg('Q', "insert into t values (100, 'x') )", 0), msg('Q', "insert into t values (100, 'refuse_request')", 0)},
	{"refused multi", msg('Q', "insert into t values (101, 'x'); select )", 0), msg('Q', "insert into t values (101, 'x'); select 'refuse_request'", 0)},
	{"refused parse", parseMsg("", "insert into t values )"), parseMsg("", "insert into t values (102, 'refuse_prepare')")},
	{"refused named parse", parseMsg("fresh", "insert )"), parseMsg("fresh", "insert into t values (103, 'refuse_prepare')")},
	{
		"refused execute",
		join(parseMsg("", "delete from t -- refuse_request"), bindMsg("", ""), executeMsg("nowhere")),
		join(parseMsg("", "delete from t -- refuse_request"), bindMsg("", ""), executeMsg("")),
	},
	{
		"refused execute of a portal",
		join(parseMsg("", "select 'refuse_request'"), bindMsg("p", ""), describeMsg('P', "p"), executeMsg("nowhere")),
		join(parseMsg("", "select 'refuse_request'"), bindMsg("p", ""), describeMsg('P', "p"), executeMsg("p")),
	},
	{
		"refused function call",
		msg('F', int32(0), int16(0), int16(0), int16(0)),
		msg('F', int32(1598), int16(0), int16(0), int16(0)),
	},
}

// steps are what surrounds them.
var steps = []step{
	both("sync", syncMsg()),
	both("sync", syncMsg()),
	both("begin", msg('Q', "begin", 0)),
	both("commit", msg('Q', "commit", 0)),
	both("rollback", msg('Q', "rollback", 0)),
	both("savepoint", msg('Q', "savepoint s", 0)),
	both("rollback to", msg('Q', "rollback to s", 0)),
	both("insert", msg('Q', "insert into t select max(id) + 1, 'q' from t", 0)),
	both("select", msg('Q', "select * from t order by id", 0)),
	both("two", msg('Q', "select 1; select id from t where id < 3", 0)),
	both("empty", msg('Q', "", 0)),
	both("real error", msg('Q', "select * from nowhere", 0)),
	both("division", msg('Q', "select 1/0", 0)),
	both("extended insert", join(parseMsg("", "insert into t select max(id) + 1, 'e' from t"), bindMsg("", ""), describeMsg('P', ""), executeMsg(""))),
	both("extended select", join(parseMsg("", "select count(*) from t"), describeMsg('S', ""), bindMsg("", "", true), executeMsg(""))),
	both("named", join(closeMsg('S', "s1"), parseMsg("s1", "select id, note from t order by id"), bindMsg("c1", "s1"), msg('E', "c1", 0, int32(2)), executeMsg("c1"))),
	both("again", join(bindMsg("", "s1"), executeMsg(""))),
	both("extended begin", join(parseMsg("", "begin"), bindMsg("", ""), executeMsg(""))),
	both("extended commit", join(parseMsg("", "commit"), bindMsg("", ""), executeMsg(""))),
	both("extended error", join(parseMsg("", "select 1/(id - 3) from t"), bindMsg("", ""), executeMsg(""))),
	both("parse error", parseMsg("", "select )")),
	both("bind error", bindMsg("", "nowhere")),
	both("flush", msg('H')),
	both("deallocate", msg('Q', "deallocate all", 0)),
	both("sql prepare", join(msg('Q', "prepare s2 as select 2", 0), msg('Q', "execute s2", 0))),
	both("close portal", closeMsg('P', "c1")),
	both("copy out", msg('Q', "copy t to stdout", 0)),
	both("copy in", join(msg('Q', "copy t from stdin", 0), msg('d', "900\tc\n"), msg('c'), msg('Q', "delete from t where id = 900", 0))),
	both("copy in fails", join(msg('Q', "copy t from stdin", 0), msg('d', "x\tc\n"), msg('d', "901\tc\n"), msg('c'))),
	both("copy in by client", join(msg('Q', "copy t from stdin", 0), msg('f', "changed my mind", 0))),
	both("extended copy in", join(parseMsg("", "copy t from stdin"), bindMsg("", ""), executeMsg(""), syncMsg(), msg('d', "902\tc\n"), msg('c'), syncMsg(), msg('Q', "delete from t where id = 902", 0))),
	both("stray copy", join(msg('d', "x"), msg('c'))),
	both("function", msg('Q', "select length('abc')", 0)),
	both("notify", msg('Q', "notify n, 'hello'", 0)),
}

func TestRefusalLeavesEverySessionAsAServersErrorWould(t *testing.T) {
	direct, relayed := twins(t)
	for _, tt := range []struct {
		name  string
		want  decoders.Want
		chunk int
		seeds uint64
	}{
		{"plain", decoders.Want{}, 0, 200},
		{"in pieces", decoders.Want{}, 3, 50},
		// Everything that masking adds stays between agentd and the server.
		{"masking", decoders.Want{Columns: []decoders.ColumnName{{Schema: "public", Table: "t", Column: "note"}}}, 0, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startProxy(t, tt.want, refuseMarked, tt.chunk)
			for seed := range tt.seeds {
				names, failing, marked := pipeline(seed)
				want := converse(t, serverAddr(t), direct, failing)
				got := converse(t, p.addr(), relayed, marked)
				if !compare(t, got, want) {
					t.Fatalf("pipeline %d: %s", seed, strings.Join(names, ", "))
				}
			}
			for _, err := range p.failures() {
				t.Error(err)
			}
		})
	}
}

// pipeline makes a random one, always the same for a seed.
func pipeline(seed uint64) (names []string, failing, marked []byte) {
	r := rand.New(rand.NewPCG(seed, 2))
	for range 1 + r.IntN(14) {
		s := steps[r.IntN(len(steps))]
		if r.IntN(4) == 0 {
			s = failures[r.IntN(len(failures))]
		}
		names = append(names, s.name)
		failing, marked = append(failing, s.failing...), append(marked, s.marked...)
	}
	return names, failing, marked
}

// The end of every conversation: something that only a session in step answers.
var last = join(syncMsg(), parseMsg("", "select 'the end'"), bindMsg("", ""), executeMsg(""), syncMsg(),
	msg('Q', "rollback", 0), msg('Q', "select id, note from t order by id", 0), msg('X'))

// converse sends b and then last in one go, and returns what comes back.
func converse(t *testing.T, addr, database string, b []byte) []reply {
	t.Helper()
	c := dial(t, addr, database)
	defer c.conn.Close()
	c.send(append(append([]byte(nil), b...), last...))
	var out []reply
	for {
		r, err := c.next()
		if err != nil {
			return out
		}
		out = append(out, r)
	}
}

// compare compares what two servers said. A refusal has a code of its own,
// and a masked error no text.
func compare(t *testing.T, got, want []reply) bool {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i].String()
		}
		if i < len(want) {
			w = want[i].String()
		}
		if strings.HasPrefix(g, "E ERROR 42501") && strings.HasPrefix(w, "E ERROR ") {
			if text := field(got[i].body, 'M') + "/" + field(got[i].body, 'H'); !strings.HasPrefix(text, "not this one (") || !strings.HasSuffix(text, ")/ask a person") {
				t.Errorf("refusal says %q", text)
			}
			continue
		}
		if g != w && !(strings.HasPrefix(g, "A ") && strings.HasPrefix(w, "A ")) {
			t.Errorf("answer %d is %s, want %s\n got %s\nwant %s", i, g, w, types(got), types(want))
			return false
		}
	}
	return true
}

func TestRefusalAtEveryPositionOfAPipeline(t *testing.T) {
	direct, relayed := twins(t)
	p := startProxy(t, decoders.Want{}, refuseMarked, 0)
	around := []step{
		both("insert", join(parseMsg("", "insert into t select max(id) + 1, 'e' from t"), bindMsg("", ""), executeMsg(""))),
		both("select", join(parseMsg("", "select note from t order by id"), bindMsg("", ""), describeMsg('P', ""), executeMsg(""))),
		both("update", join(parseMsg("", "update t set note = note || '!'"), bindMsg("", ""), executeMsg(""))),
	}
	frames := map[string][2][]byte{
		"alone":                  {nil, syncMsg()},
		"in a transaction":       {msg('Q', "begin", 0), join(syncMsg(), msg('Q', "commit", 0))},
		"in a failed one":        {join(msg('Q', "begin", 0), msg('Q', "oops", 0)), join(syncMsg(), msg('Q', "commit", 0))},
		"with an extended begin": {join(parseMsg("", "begin"), bindMsg("", ""), executeMsg("")), join(parseMsg("", "commit"), bindMsg("", ""), executeMsg(""), syncMsg())},
	}
	for where, frame := range frames {
		for _, f := range failures {
			for at := range len(around) + 1 {
				var failing, marked []byte
				for i := range len(around) + 1 {
					if i == at {
						failing, marked = append(failing, f.failing...), append(marked, f.marked...)
					}
					if i < len(around) {
						failing, marked = append(failing, around[i].failing...), append(marked, around[i].marked...)
					}
				}
				t.Run(fmt.Sprintf("%s, %s at %d", where, f.name, at), func(t *testing.T) {
					want := converse(t, serverAddr(t), direct, join(frame[0], failing, frame[1]))
					got := converse(t, p.addr(), relayed, join(frame[0], marked, frame[1]))
					compare(t, got, want)
				})
			}
		}
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}
