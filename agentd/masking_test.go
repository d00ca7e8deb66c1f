package agentd_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
)

// A trial is one session of a way.
type trial struct {
	way      *way
	protocol protocol
	direct   bool // without agentd
	right    bool
	database string // its own, "" for any
	places   *strings.Replacer
	heard    dialogue.Heard
}

func (tr *trial) turns() [][]byte { return tr.way.turns(tr.protocol, tr.right, tr.places) }

// Whatever way is tried, the record of results shows no value that the client was
// not shown.
func TestEveryWayToAMaskedColumn(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.Setting("log_statement=none"), lab.Setting("wal_level=logical"), lab.Setting("max_prepared_transactions=5"))
	server.SQL(t, protected)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: protecting, Target: server, Config: "limits: {statement: 256KiB}\nrecord: {results: 256KiB}\n"})
	makeDatabases(t, server, []string{"far"})
	gossip(t, server)
	// FOLDER is one that the server can write to, OVERFLOW is where it keeps
	// long values.
	places := strings.NewReplacer("FOLDER", server.Socket,
		"OVERFLOW", server.SQL(t, "select reltoastrelid::regclass from pg_class where oid = 'letters_kept'::regclass"))
	tried := chosen()
	direct, captured := trialsOf(tried, places)
	hold(t, server, "d", direct, func(cmd *exec.Cmd) *exec.Cmd { return cmd })
	hold(t, server, "c", captured, func(cmd *exec.Cmd) *exec.Cmd { return agentd.Captured(t, cmd) })
	recordShowsNoMore(t, agentd, captured)
	began := time.Now()
	found := findings(t, newJudge(secrets), tried, direct, captured)
	t.Logf("judged in %.1f s", time.Since(began).Seconds())
	if len(tried) == len(ways) {
		compareDocument(t, found)
	}
}

// trialsOf returns the trials of ways: without agentd, where one protocol is
// enough to know that they lead somewhere, and through it.
func trialsOf(ways []*way, places *strings.Replacer) (direct, captured []*trial) {
	for _, w := range ways {
		first := w.untried == ""
		for _, p := range protocols {
			if !w.goes(p) {
				continue
			}
			for _, right := range []bool{true, false} {
				if !right && !w.oracle() {
					continue
				}
				captured = append(captured, &trial{way: w, protocol: p, right: right, places: places})
				if first {
					direct = append(direct, &trial{way: w, protocol: p, right: right, places: places, direct: true})
				}
			}
			first = false
		}
	}
	return direct, captured
}

// findings says for each way and protocol what came of it, and fails the test
// where that is not as it should be.
func findings(t *testing.T, j *judge, ways []*way, direct, captured []*trial) map[*way]map[string]string {
	t.Helper()
	out := map[*way]map[string]string{}
	for _, w := range ways {
		leads(t, j, w, pick(direct, w, ""))
		out[w] = map[string]string{}
		for _, p := range protocols {
			if !w.goes(p) {
				continue
			}
			trials := pick(captured, w, p.name)
			found, how := w.opens(j, trials, pick(direct, w, ""))
			if found {
				t.Errorf("%s, %s, %s: open, %s\n%s", w.group, w.name, p.name, how, transcript(trials))
				out[w][p.name] = "**open**"
				continue
			}
			out[w][p.name] = outcome(j.read(&trials[0].heard))
			if out[w][p.name] == "error" {
				t.Logf("%s, %s, %s: error\n%s", w.group, w.name, p.name, transcript(trials))
			}
		}
	}
	return out
}

// leads fails the test if a way does not lead to the value without agentd, or
// does against its description.
func leads(t *testing.T, j *judge, w *way, direct []*trial) {
	t.Helper()
	if w.untried != "" {
		return
	}
	switch found, how := w.opens(j, direct, direct); {
	case !found && w.barred == "":
		t.Errorf("%s, %s: shows nothing without agentd either: the way is broken\n%s", w.group, w.name, transcript(direct))
	case found && w.barred != "":
		t.Errorf("%s, %s: is open without agentd (%s), though %s", w.group, w.name, how, w.barred)
	}
}

func pick(trials []*trial, w *way, protocol string) []*trial {
	var out []*trial
	for _, tr := range trials {
		if tr.way == w && (protocol == "" || tr.protocol.name == protocol) {
			out = append(out, tr)
		}
	}
	return out
}
