package recorder

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"

	"agentd.dev/decoders"
)

// sealing makes a log of several segments that are sealed when the test says.
func sealedLog(t testing.TB, change ...func(*Options)) *aLog {
	t.Helper()
	l := begin(t, append(change, func(o *Options) { o.SegmentBytes = 12_000 })...)
	for i := range 4 {
		l.work(t, fmt.Sprintf("S%d", i), 40)
	}
	if err := l.checkpoint(); err != nil {
		t.Fatal(err)
	}
	return l
}

// keepNow does once what the recorder does in the background.
func (l *aLog) keepNow(t testing.TB) {
	t.Helper()
	if err := newKeeper(l.Recorder).round(make(chan struct{})); err != nil {
		t.Fatal(err)
	}
	if err := l.checkpoint(); err != nil {
		t.Fatal(err)
	}
}

func anIdentity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func encryptTo(ids ...*age.X25519Identity) func(*Options) {
	return func(o *Options) {
		for _, id := range ids {
			o.Encrypt = append(o.Encrypt, id.Recipient())
		}
	}
}

func formsIn(t testing.TB, dir string) (all []form) {
	t.Helper()
	numbers, err := segmentNumbers(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := opener{dir: dir}
	for _, n := range numbers {
		form, err := o.formOf(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, form)
	}
	return all
}

func (l *aLog) verified(t testing.TB, ids ...age.Identity) Report {
	t.Helper()
	r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{Identities: ids})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Errorf("got %v; want nothing bad", r.Bad)
	}
	return r
}

func sizeOf(t testing.TB, dir string) (total int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		stat, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if stat.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", f, stat.Mode())
		}
		total += stat.Size()
	}
	return total
}

func TestSealedSegmentsHoldTheSameBytes(t *testing.T) {
	l := sealedLog(t)
	before, size := payloads(t, l.opts.Dir), sizeOf(t, l.opts.Dir)
	l.keepNow(t)
	forms := formsIn(t, l.opts.Dir)
	if n := len(forms); n < 3 || slices.Contains(forms[:n-1], plainForm) || forms[n-1] != plainForm {
		t.Fatalf("got forms %v; want all but the last sealed", forms)
	}
	after := payloads(t, l.opts.Dir)
	if !slices.EqualFunc(before, after, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
		t.Errorf("got %d records after; want the same %d as before", len(after), len(before))
	}
	if now := sizeOf(t, l.opts.Dir); now > size/2 {
		t.Errorf("got %d bytes; want less than half of %d", now, size)
	}
	if r := l.verified(t); r.Encrypted != 0 || len(r.Deleted) != 0 || r.Records != int64(len(before)) {
		t.Errorf("got %+v; want %d records and nothing hidden", r, len(before))
	}
	list, err := open(t, l).Sessions(Filter{})
	if err != nil || len(list) != 4 {
		t.Errorf("got %d sessions, %v; want 4", len(list), err)
	}
	key := l.verifier(t)
	b, err := Prove(l.opts.Dir, key, "S0", nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := CheckBundle(data, key); err != nil || !r.OK {
		t.Errorf("got %+v, %v; want a bundle that is right", r, err)
	}
	again(t, closed(t, l)) // recovery reads them
}

// closed closes the log, to be opened again.
func closed(t testing.TB, l *aLog) Options {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.opts
}

func TestPlacesStayWhereTheyWere(t *testing.T) {
	l := sealedLog(t)
	type at struct{ segment, offset int64 }
	texts := func() map[at]string {
		all := map[at]string{}
		folder := open(t, l)
		err := folder.EventsFrom(t.Context(), 0, 0, nil, func(e *Event, p Position) error {
			if e != nil && e.Kind == "request" {
				all[at{p.Segment, p.Offset}] = p.Session
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for place, id := range all {
			text, err := folder.TextAt(place.segment, place.offset, id)
			if err != nil || text.Text != "select 1" {
				t.Fatalf("at %v: got %q, %v", place, text.Text, err)
			}
		}
		return all
	}
	before := texts()
	l.keepNow(t)
	if after := texts(); len(after) != len(before) || len(after) == 0 {
		t.Errorf("got %d statements; want %d", len(after), len(before))
	}
}

func TestAnEncryptedLogIsReadWithAnIdentityAndVerifiedWithout(t *testing.T) {
	id, other := anIdentity(t), anIdentity(t)
	l := sealedLog(t, encryptTo(id, anIdentity(t)))
	secret := []byte("select 1")
	before := payloads(t, l.opts.Dir)
	l.keepNow(t)
	n := len(formsIn(t, l.opts.Dir)) - 1
	for i := range n {
		data, err := os.ReadFile(filepath.Join(l.opts.Dir, segmentName(int64(i+1))))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, secret) || bytes.Contains(data, []byte("reporter")) {
			t.Errorf("segment %d holds plaintext", i+1)
		}
	}
	for _, without := range [][]age.Identity{nil, {other}} {
		if r := l.verified(t, without...); r.Encrypted != n || r.Records < int64(len(before)) {
			t.Errorf("without: got %d encrypted, %d records; want %d, at least %d", r.Encrypted, r.Records, n, len(before))
		}
		folder, err := OpenFolder(l.opts.Dir, without...)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := folder.Hidden(); err != nil || h != (Hidden{Encrypted: n}) {
			t.Errorf("got %+v, %v; want %d encrypted", h, err, n)
		}
		if list, err := folder.Sessions(Filter{}); err != nil || len(list) == 4 {
			t.Errorf("got %d sessions, %v; want fewer than 4", len(list), err)
		}
	}
	if r := l.verified(t, id); r.Encrypted != 0 {
		t.Errorf("got %d encrypted; want 0", r.Encrypted)
	}
	folder, err := OpenFolder(l.opts.Dir, id)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := folder.Hidden(); err != nil || h != (Hidden{}) {
		t.Errorf("got %+v, %v; want nothing hidden", h, err)
	}
	transcript, err := folder.Session("S0")
	if err != nil || len(transcript.Entries) != 40 {
		t.Errorf("got %d entries, %v; want 40", len(transcript.Entries), err)
	}
	if _, err := Prove(l.opts.Dir, l.verifier(t), "S0", nil, id); err != nil {
		t.Errorf("prove: %v", err)
	}
	again(t, closed(t, l))
}

func TestAKillAtAnyStepOfSealingLosesNothing(t *testing.T) {
	id := anIdentity(t)
	for _, to := range []struct {
		name   string
		change func(*Options)
	}{
		{"compressed", func(*Options) {}},
		{"encrypted", encryptTo(id)},
		{"emptied", func(o *Options) { o.Retention = []Rule{{Name: "soon", After: time.Nanosecond}} }},
	} {
		t.Run(to.name, func(t *testing.T) {
			for steps := 0; ; steps++ {
				l := begin(t, to.change, func(o *Options) { o.SegmentBytes = 12_000 })
				l.work(t, "S", 30) // two segments that end
				if err := l.checkpoint(); err != nil {
					t.Fatal(err)
				}
				want := l.verified(t).Records
				left := steps
				killed := false
				k := newKeeper(l.Recorder)
				k.step = func(string) {
					if left--; left < 0 {
						killed = true
						panic("killed")
					}
				}
				func() {
					defer func() { recover() }()
					k.round(make(chan struct{}))
				}()
				// As a kill leaves it: nothing is closed but the lock.
				l.Recorder.lock.Close()
				after := again(t, l.opts)
				if r := after.verified(t, id); r.Records < want {
					t.Errorf("after %d steps: got %d records; want %d", steps, r.Records, want)
				}
				after.keepNow(t)
				if r := after.verified(t, id); r.Records < want {
					t.Errorf("after %d steps, sealed anew: got %d records; want %d", steps, r.Records, want)
				}
				left2, err := filepath.Glob(filepath.Join(l.opts.Dir, "*"+sealingSuffix))
				if err != nil || len(left2) > 0 {
					t.Errorf("after %d steps: %v, %v are left behind", steps, left2, err)
				}
				if !killed {
					return
				}
			}
		})
	}
}

func TestRetentionDeletesContentsAndSaysSo(t *testing.T) {
	id := anIdentity(t)
	for _, change := range []func(*Options){func(*Options) {}, encryptTo(id)} {
		l := sealedLog(t, change, func(o *Options) { o.Retention = []Rule{{Name: "90 days", After: time.Hour}} })
		total := l.verified(t).Records
		l.keepNow(t)
		forms := formsIn(t, l.opts.Dir)
		if n := len(forms) - 1; slices.ContainsFunc(forms[:n], func(f form) bool { return f != emptiedForm }) {
			t.Fatalf("got forms %v; want all but the last emptied", forms)
		}
		r := l.verified(t)
		if len(r.Deleted) != 1 || r.Deleted[0].Rule != "90 days" || r.Deleted[0].First != 0 || r.Records < total {
			t.Errorf("got %+v, %d records; want one deletion from record 0, at least %d records", r.Deleted, r.Records, total)
		}
		if !r.Deleted[0].From.Before(r.Deleted[0].At) {
			t.Errorf("got %+v; want times", r.Deleted[0])
		}
		again(t, closed(t, l)).verified(t)
	}
}

func TestAHoldKeepsContents(t *testing.T) {
	l := sealedLog(t, func(o *Options) { o.Retention = []Rule{{Name: "soon", After: time.Hour}} })
	session, from, to, err := open(t, l).SegmentsOf("S1")
	if err != nil || session != "S1" || from == 0 || to < from {
		t.Fatalf("got %s in %d to %d, %v", session, from, to, err)
	}
	if _, err := l.Hold(Hold{Name: "case 7", Session: session, From: from, To: to, Why: "asked for", By: "counsel"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hold(Hold{Name: "case 7"}); err == nil {
		t.Error("a second hold of the same name was taken")
	}
	l = again(t, closed(t, l)) // it outlives the process
	l.keepNow(t)
	forms := formsIn(t, l.opts.Dir)
	for i, f := range forms[:len(forms)-1] {
		held := int64(i+1) >= from && int64(i+1) <= to
		if (f != emptiedForm) != held {
			t.Errorf("segment %d is %v; held: %v", i+1, f, held)
		}
	}
	if r := l.verified(t); !slices.Equal(r.Held, []string{"case 7"}) {
		t.Errorf("got %v held", r.Held)
	}
	if tr, err := open(t, l).Session("S1"); err != nil || len(tr.Entries) != 40 {
		t.Errorf("got %v; want the session whole, in %d to %d", err, from, to)
	}
	if err := l.Release("case 8", "x"); err == nil {
		t.Error("a hold was released that there is not")
	}
	if err := l.Release("case 7", "counsel"); err != nil {
		t.Fatal(err)
	}
	l.keepNow(t)
	if r := l.verified(t); len(r.Held) != 0 || len(r.Deleted) == 0 {
		t.Errorf("got %+v", r)
	}
}

func TestWhatIsKeptIsBoundedBySize(t *testing.T) {
	l := sealedLog(t)
	l.keepNow(t)
	l.opts.Retention = []Rule{{Name: "disk", Keep: sizeOf(t, l.opts.Dir) * 3 / 4}}
	l = again(t, closed(t, l))
	l.keepNow(t)
	forms := formsIn(t, l.opts.Dir)
	if forms[0] != emptiedForm || forms[len(forms)-2] == emptiedForm {
		t.Errorf("got forms %v; want the oldest emptied, and not all", forms)
	}
	l.verified(t)
}

func TestASegmentEndsByAge(t *testing.T) {
	l := begin(t, func(o *Options) { o.SegmentAge = time.Minute })
	l.mu.Lock()
	l.rollOld(l.seg.born.Add(time.Second))
	l.rollOld(l.seg.born.Add(time.Minute))
	l.rollOld(time.Now().Add(time.Hour)) // the new one has no records
	l.mu.Unlock()
	if err := l.checkpoint(); err != nil {
		t.Fatal(err)
	}
	if got := len(formsIn(t, l.opts.Dir)); got != 2 {
		t.Errorf("got %d segments; want 2", got)
	}
	l.work(t, "S", 1)
	l.verified(t)
}

// BenchmarkSealedStatement is what a pgbench statement takes on the disk.
func BenchmarkSealedStatement(b *testing.B) {
	for _, how := range []struct {
		name   string
		change func(*Options)
	}{{"compressed", func(*Options) {}}, {"encrypted", encryptTo(anIdentity(b))}} {
		b.Run(how.name, func(b *testing.B) {
			for b.Loop() {
				const statements = 20_000
				l := begin(b, how.change, func(o *Options) { o.SegmentBytes = 64 << 20 })
				pgbench(b, l, statements)
				l.mu.Lock()
				plain := l.seg.size
				err := l.roll()
				l.mu.Unlock()
				if err != nil {
					b.Fatal(err)
				}
				if err := l.checkpoint(); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				l.keepNow(b)
				took := time.Since(start)
				b.ReportMetric(float64(plain)/statements, "plain-B/statement")
				b.ReportMetric(float64(sizeOf(b, l.opts.Dir))/statements, "B/statement")
				b.ReportMetric(float64(plain)/1e6/took.Seconds(), "sealing-MB/s")
				start = time.Now()
				l.verified(b)
				b.ReportMetric(float64(plain)/1e6/time.Since(start).Seconds(), "verify-MB/s")
				l.Close()
			}
		})
	}
}

// pgbench records statements as its TPC-B-like script sends them, from sessions in
// turn, with times and values that do not repeat.
func pgbench(b *testing.B, l *aLog, statements int) {
	random := rand.New(rand.NewPCG(1, 2))
	var turn Turn
	var logs []*Log
	for i := range 8 {
		log, err := l.Begin(&turn, aSession(fmt.Sprintf("3F2K7QW5M4X6T8Z9B1N0C2V%d", i)))
		if err != nil {
			b.Fatal(err)
		}
		logs = append(logs, log)
	}
	now := at
	after := func() time.Time { now = now.Add(time.Duration(20_000 + random.IntN(200_000))); return now }
	for i := range statements {
		delta, aid := random.IntN(10_000)-5_000, random.IntN(100_000)+1
		tid, bid := random.IntN(10)+1, 1
		what := [...][2]string{
			{"BEGIN;", "BEGIN"},
			{fmt.Sprintf("UPDATE pgbench_accounts SET abalance = abalance + %d WHERE aid = %d;", delta, aid), "UPDATE 1"},
			{fmt.Sprintf("SELECT abalance FROM pgbench_accounts WHERE aid = %d;", aid), "SELECT 1"},
			{fmt.Sprintf("UPDATE pgbench_tellers SET tbalance = tbalance + %d WHERE tid = %d;", delta, tid), "UPDATE 1"},
			{fmt.Sprintf("UPDATE pgbench_branches SET bbalance = bbalance + %d WHERE bid = %d;", delta, bid), "UPDATE 1"},
			{fmt.Sprintf("INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (%d, %d, %d, %d, CURRENT_TIMESTAMP);", tid, bid, aid, delta), "INSERT 0 1"},
			{"END;", "COMMIT"},
		}[i/len(logs)%7]
		seq := uint64(i/len(logs) + 1)
		log := logs[i%len(logs)]
		log.Asked(&turn, after(), statement(seq, what[0]), allowed)
		log.Told(&turn, after(), outcome(seq, decoders.Result{Rows: 1, Bytes: int64(random.IntN(8)), Affected: 1, Tag: what[1]}))
		l.commit(b, &turn)
	}
}
