package recorder

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"agentd.dev/decoders"
)

func bundle(t *testing.T, l *aLog, id string) *Bundle {
	t.Helper()
	b, err := Prove(l.opts.Dir, l.verifier(t), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func checked(t *testing.T, b *Bundle, key string) BundleReport {
	t.Helper()
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := CheckBundle(data, key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEverySessionIsProvenByItsBundleAndTheKey(t *testing.T) {
	l := victim(t)
	for _, id := range []string{"S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7"} {
		r := checked(t, bundle(t, l, id), l.verifier(t))
		if !r.OK || r.Records != 6 || r.OwnKey || r.Signed != victimSize {
			t.Errorf("%s: got %+v, want 6 records proven", id, r)
		}
	}
	if r := checked(t, bundle(t, l, "S3"), ""); !r.OK || !r.OwnKey {
		t.Errorf("without a key: got %+v, want the bundle's own, and to be told", r)
	}
}

// Rows of results are records of a session like all others, with fields of their own.
func TestABundleHasTheRowsOfResults(t *testing.T) {
	l := begin(t)
	var turn Turn
	log, err := l.Begin(&turn, aSession("S"))
	if err != nil {
		t.Fatal(err)
	}
	log.Asked(&turn, at, statement(1, "select"), allowed)
	log.Shown(&turn, at, &decoders.Shown{Seq: 1, Columns: [][]byte{[]byte("id")}, Values: plainRow("7"), Ends: []int{1}})
	log.End(&turn, at, End{Reason: "client closed"})
	l.commit(t, &turn)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b := bundle(t, l, "S")
	if r := checked(t, b, l.verifier(t)); !r.OK || r.Records != 4 || r.Root == "" {
		t.Errorf("got %+v, want 4 records proven", r)
	}
	s, err := b.Transcript()
	if err != nil || s.State != Ended || len(s.Entries) != 1 || len(s.Entries[0].Rows) != 1 || *s.Entries[0].Rows[0].Rows[0][0] != "7" {
		t.Errorf("got %+v, %v, want the session with its rows", s, err)
	}
}

func TestABundleThatWasTamperedWithIsRefused(t *testing.T) {
	l, other := victim(t), victim(t)
	foreign := bundle(t, other, "S3")
	for _, tt := range []struct {
		name   string
		attack func(b *Bundle)
		want   string // in Bad, or "" where records are missing
	}{
		{"change a record", func(b *Bundle) {
			b.Records[1].Record = strings.Replace(b.Records[1].Record, "select 1", "select 2", 1)
		}, "was changed"},
		{"change a proof", func(b *Bundle) { b.Records[1].Proof[0][3] ^= 1 }, "was changed"},
		{"shorten a proof", func(b *Bundle) { b.Records[1].Proof = b.Records[1].Proof[1:] }, "was changed"},
		{"move a record", func(b *Bundle) { b.Records[5].Index++ }, "moved"},
		{"go beyond the log", func(b *Bundle) { b.Records[5].Index = victimSize }, "not among"},
		{"swap records", func(b *Bundle) { b.Records[1], b.Records[2] = b.Records[2], b.Records[1] }, "reordered"},
		{"repeat a record", func(b *Bundle) { b.Records = slices.Insert(b.Records, 2, b.Records[1]) }, "repeated"},
		{"remove the first", func(b *Bundle) { b.Records = b.Records[1:] }, ""},
		{"remove one", func(b *Bundle) { b.Records = slices.Delete(b.Records, 2, 3) }, ""},
		{"remove the last", func(b *Bundle) { b.Records = b.Records[:5] }, ""},
		{"remove all", func(b *Bundle) { b.Records = nil }, "no records"},
		{"call it another session", func(b *Bundle) { b.Session = "S4" }, "another session"},
		{"take another log's checkpoint", func(b *Bundle) { b.Checkpoint = foreign.Checkpoint }, "another key"},
		{"change the checkpoint", func(b *Bundle) { b.Checkpoint = strings.Replace(b.Checkpoint, "\n50\n", "\n49\n", 1) }, "checkpoint"},
		{"put another log's in its place", func(b *Bundle) { *b = *foreign }, "another key"},
		{"insert another session's record", func(b *Bundle) {
			b.Records = append(b.Records, bundle(t, l, "S4").Records...)
		}, "another session"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bundle(t, l, "S3")
			tt.attack(b)
			r := checked(t, b, l.verifier(t))
			if r.OK || tt.want == "" && r.Bad != "" || !strings.Contains(r.Bad, tt.want) {
				t.Errorf("got %+v, want %q", r, tt.want)
			}
		})
	}
}

func TestWhatABundleLacksIsNamed(t *testing.T) {
	l := victim(t)
	b := bundle(t, l, "S3")
	b.Records = slices.Delete(b.Records, 2, 4)
	r := checked(t, b, l.verifier(t))
	if want := []Missing{{From: 3, To: 4}}; !slices.Equal(r.Missing, want) || !r.Closed || !r.Begun {
		t.Errorf("got %+v, want missing %v", r, want)
	}
	b = bundle(t, l, "S3")
	b.Records = b.Records[:4]
	if r := checked(t, b, l.verifier(t)); r.Closed || r.OK || r.Missing != nil {
		t.Errorf("without its end: got %+v, want it not closed, and nothing known to be missing", r)
	}
}

func TestNothingIsProvenOfALogThatIsNotWhole(t *testing.T) {
	for name, attack := range map[string]func(g *forger){
		"changed":  func(g *forger) { g.change(14, "select 1", "select 2") },
		"removed":  func(g *forger) { g.remove(14) },
		"relinked": func(g *forger) { g.change(14, "select 1", "select 2"); g.relink() },
		"cut":      func(g *forger) { g.remove(victimSize - 1) },
	} {
		l := victim(t)
		g := forge(t, l.opts.Dir)
		attack(g)
		g.write()
		if b, err := Prove(l.opts.Dir, l.verifier(t), "S6", nil); err == nil {
			t.Errorf("%s: got %d records, want an error", name, len(b.Records))
		}
	}
}

func TestEveryTwoCheckpointsOfALogAreConsistent(t *testing.T) {
	l := victim(t)
	kept := forge(t, l.opts.Dir).notes
	for i, a := range kept {
		for j, b := range kept {
			c, err := Consistent(l.opts.Dir, l.verifier(t), a, b, nil)
			if err != nil || !c.OK {
				t.Errorf("checkpoints %d and %d: got %+v, %v, want consistent", i, j, c, err)
			}
		}
	}
}

// The node's key signs two histories: a fork, whichever of them the log is.
func TestAForkIsNamed(t *testing.T) {
	l := victim(t)
	g := forge(t, l.opts.Dir)
	old := slices.Clone(g.notes)
	g.change(14, "select 1", "select 2")
	g.relink()
	g.signWith(l.signer)
	g.write()
	key := l.verifier(t)
	if r, err := Verify(l.opts.Dir, key, VerifyOptions{}); err != nil || !r.OK {
		t.Fatalf("with the key, and no checkpoint from elsewhere, it cannot be seen; got %v, %v", r.Bad, err)
	}
	last := len(old) - 1
	for i, kept := range old[2:] {
		r, err := Verify(l.opts.Dir, key, VerifyOptions{Checkpoints: [][]byte{kept}})
		if i == 0 { // of the 13 records before the change
			if err != nil || !r.OK {
				t.Errorf("a checkpoint from before the change: got %v, %v, want OK", r.Bad, err)
			}
			continue
		}
		if err != nil || r.OK || r.Bad.Kind != Forked || r.Bad.First != 13 && i == 1 {
			t.Errorf("checkpoint %d: got %v, %v, want %s", i+2, r.Bad, err, Forked)
		}
	}
	r, err := Verify(l.opts.Dir, key, VerifyOptions{Checkpoints: old})
	if err != nil || r.OK || r.Bad.Kind != Forked || r.Bad.First != 13 || r.Bad.Last != 18 {
		t.Errorf("all checkpoints: got %v, %v, want %s of records 13 to 18", r.Bad, err, Forked)
	}
	r, err = Verify(l.opts.Dir, key, VerifyOptions{Checkpoints: [][]byte{old[last], g.notes[last]}})
	if err != nil || r.OK || r.Bad.Kind != Forked {
		t.Errorf("two of one size: got %v, %v, want %s", r.Bad, err, Forked)
	}
	for name, two := range map[string][2][]byte{
		"of one size":   {old[last], g.notes[last]},
		"old, then new": {old[last-2], g.notes[last]},
		"new, then old": {
			g.notes[last-2], old[last],
		},
	} {
		c, err := Consistent(l.opts.Dir, key, two[0], two[1], nil)
		if err != nil || c.OK || c.Kind != Forked {
			t.Errorf("%s: got %+v, %v, want %s", name, c, err, Forked)
		}
	}
	if c, err := Consistent(l.opts.Dir, key, old[1], g.notes[last], nil); err != nil || !c.OK {
		t.Errorf("a checkpoint from before the fork: got %+v, %v, want consistent", c, err)
	}
}

// signWith signs every checkpoint anew.
func (g *forger) signWith(signer note.Signer) {
	g.t.Helper()
	var log chain
	roots := map[int64]tlog.Hash{}
	for _, s := range g.segments {
		for _, p := range s.records {
			log.add(tlog.RecordHash(p[1:]))
			roots[log.tree.size] = log.tree.root()
		}
	}
	for i, n := range g.notes {
		text, _, _ := strings.Cut(string(n), "\n\n")
		c, err := parseCheckpoint(text + "\n")
		if err != nil {
			g.t.Fatal(err)
		}
		c.Root = roots[c.Size]
		if g.notes[i], err = c.sign(signer); err != nil {
			g.t.Fatal(err)
		}
	}
}

// One session of 1,000 statements among others: per record of the log.
func BenchmarkProve(b *testing.B) {
	l := begin(b)
	l.work(b, "S", 1000)
	for i := 2000; i < b.N; i += 2000 {
		l.work(b, "other", 1000)
	}
	l.Close()
	key := l.verifier(b)
	b.ResetTimer()
	proven, err := Prove(l.opts.Dir, key, "S", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	data, err := json.Marshal(proven)
	if err != nil {
		b.Fatal(err)
	}
	if r, err := CheckBundle(data, key); err != nil || !r.OK {
		b.Fatalf("got %+v, %v", r, err)
	}
	b.ReportMetric(float64(len(data))/float64(len(proven.Records)), "B/proven")
}
