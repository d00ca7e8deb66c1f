package recorder

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// aLog is a folder being recorded in, and its key.
type aLog struct {
	*Recorder
	opts Options
}

func (l *aLog) verifier(t testing.TB) string {
	t.Helper()
	key, err := os.ReadFile(l.opts.KeyFile + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(key))
}

// begin starts recording in a scratch folder; checkpoints only come when the
// test asks, unless change says otherwise.
func begin(t testing.TB, change ...func(*Options)) *aLog {
	t.Helper()
	dir := t.TempDir()
	opts := Options{
		Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key", "node"),
		Node: "agentd/test", Interval: time.Hour, Reserve: 1,
	}
	for _, c := range change {
		c(&opts)
	}
	return again(t, opts)
}

func again(t testing.TB, opts Options) *aLog {
	t.Helper()
	r, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &aLog{r, opts}
}

// at is a moment that tests tell time from.
var at = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func aSession(id string) *policy.Session {
	return &policy.Session{
		ID: id, Start: at, Scope: "plaintext",
		Identity: policy.Identity{
			Workload: "agent", Source: "run", Cgroup: "/agents/one", CgroupID: 42,
			Namespace: "agents", Pod: "reporter-7d9f", PodUID: "1-2", Container: "main", ContainerID: "abc", Image: "registry/reporter:1",
			ServiceAccount: "reporter", Owner: "ReplicaSet/reporter-7d", Labels: map[string]string{"app": "reporter", "a\"b": "\n"},
			Process: policy.Process{PID: 4711, Start: at.Add(-time.Hour), UID: 1000, Comm: "psql", Exe: "/usr/bin/psql"},
		},
		Target: policy.Target{Name: "orders", Address: netip.MustParseAddrPort("192.0.2.1:5432"), Protocol: "postgres"},
	}
}

// loginFacts stand for those a decoder gives with a login.
type loginFacts map[string]string

func (f loginFacts) Field(name string) any {
	if v, ok := f[name]; ok {
		return v
	}
	return nil
}

func statement(seq uint64, text string) *decoders.Event {
	return &decoders.Event{Kind: decoders.Request, Seq: seq, Text: []byte(text), Record: []byte(text)}
}

func outcome(seq uint64, r decoders.Result) *decoders.Event {
	return &decoders.Event{Kind: decoders.Outcome, Seq: seq, Result: r}
}

var allowed = policy.Verdict{Outcome: policy.Forward, Rule: "default"}

// work records a session of n statements, each committed by itself.
func (l *aLog) work(t testing.TB, id string, n int) {
	t.Helper()
	var turn Turn
	log, err := l.Begin(&turn, aSession(id))
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= uint64(n); seq++ {
		log.Asked(&turn, at, statement(seq, "select 1"), allowed)
		l.commit(t, &turn)
		log.Told(&turn, at.Add(time.Millisecond), outcome(seq, decoders.Result{Rows: 1, Bytes: 11, Tag: "SELECT 1"}))
	}
	log.End(&turn, at.Add(time.Second), End{FromClient: 100, FromServer: 200, Reason: "client closed"})
	l.commit(t, &turn)
}

func (l *aLog) commit(t testing.TB, turn *Turn) {
	t.Helper()
	if err := l.Commit(turn); err != nil {
		t.Fatal(err)
	}
}

// payloads returns every record of a folder as it is on disk.
func payloads(t testing.TB, dir string) []json.RawMessage {
	t.Helper()
	numbers, err := segmentNumbers(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	for _, n := range numbers {
		o := opener{dir: dir}
		seg, err := o.open(n)
		if err != nil {
			t.Fatal(err)
		}
		defer seg.close()
		for {
			p, _, err := seg.next()
			if err != nil {
				break
			}
			all = append(all, append([]byte(nil), p[1:]...))
		}
	}
	return all
}

// BenchmarkStatement is what recording costs a pgbench statement, with as many
// of them in a turn of the event loop.
func BenchmarkStatement(b *testing.B) {
	for _, turn := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("turn=%d", turn), func(b *testing.B) { benchmarkStatement(b, turn, nil) })
		b.Run(fmt.Sprintf("turn=%d, with its row", turn), func(b *testing.B) {
			benchmarkStatement(b, turn, &decoders.Shown{Columns: [][]byte{[]byte("abalance")}, Values: plainRow("-4711"), Ends: []int{1}})
		})
	}
}

func benchmarkStatement(b *testing.B, perTurn int, shown *decoders.Shown) {
	l := begin(b, func(o *Options) { o.Interval = time.Second })
	var turn Turn
	log, err := l.Begin(&turn, aSession("3F2K7QW5M4X6T8Z9B1N0C2V4"))
	if err != nil {
		b.Fatal(err)
	}
	asked := statement(0, "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;")
	told := outcome(0, decoders.Result{Rows: 1, Bytes: 13, Tag: "SELECT 1"})
	v := policy.Verdict{Outcome: policy.Forward, Rule: "read-only"}
	now := at
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		asked.Seq, told.Seq = uint64(i+1), uint64(i+1)
		log.Asked(&turn, now, asked, v)
		now = now.Add(50 * time.Microsecond)
		if shown != nil {
			shown.Seq = told.Seq
			log.Shown(&turn, now, shown)
		}
		log.Told(&turn, now, told)
		if i%perTurn == perTurn-1 {
			l.commit(b, &turn)
		}
	}
}

// BenchmarkVerify is by record, chain, tree and signatures included.
func BenchmarkVerify(b *testing.B) {
	l := begin(b)
	l.work(b, "S", b.N/2)
	l.Close()
	verifier := l.verifier(b)
	b.ResetTimer()
	if r, err := Verify(l.opts.Dir, verifier, VerifyOptions{}); err != nil || !r.OK {
		b.Fatal(r.Bad, err)
	}
}

func TestAKeyThatOthersCanReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	opts := Options{Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key"), Node: "test", Reserve: 1}
	r, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := os.Chmod(opts.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Open(opts); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		if err == nil {
			r.Close()
		}
		t.Errorf("Open said %v, want to be told to chmod the key", err)
	}
}
