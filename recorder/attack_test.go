package recorder

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A forger is root on the machine, and knows the format: what it writes has
// right checksums and lengths.
type forger struct {
	t        *testing.T
	dir      string
	segments []forged
	notes    [][]byte
}

type forged struct {
	header  []byte
	records [][]byte // payloads
}

// forge reads a folder to be tampered with.
func forge(t *testing.T, dir string) *forger {
	t.Helper()
	g := &forger{t: t, dir: dir}
	numbers, err := segmentNumbers(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		data := g.read(segmentName(n))
		_, at, err := parseHeader(data)
		if err != nil {
			t.Fatal(err)
		}
		s := forged{header: data[:at]}
		for data = data[at:]; len(data) > 0; {
			end := frameHead + int(binary.LittleEndian.Uint32(data))
			s.records = append(s.records, data[frameHead:end])
			data = data[end:]
		}
		g.segments = append(g.segments, s)
	}
	for rest := g.read(checkpointsName); len(rest) > 0; {
		signed, after, ok := nextNote(rest)
		if !ok {
			t.Fatalf("odd checkpoints file: %q", rest)
		}
		g.notes, rest = append(g.notes, signed), after
	}
	return g
}

func (g *forger) read(name string) []byte {
	g.t.Helper()
	data, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		g.t.Fatal(err)
	}
	return data
}

// write replaces the folder's files by what g holds.
func (g *forger) write() {
	g.t.Helper()
	numbers, err := segmentNumbers(g.dir)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, n := range numbers {
		if err := os.Remove(filepath.Join(g.dir, segmentName(n))); err != nil {
			g.t.Fatal(err)
		}
	}
	for i, s := range g.segments {
		data := bytes.Clone(s.header)
		for _, p := range s.records {
			data = binary.LittleEndian.AppendUint32(data, uint32(len(p)))
			data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(p, castagnoli))
			data = append(data, p...)
		}
		if s.header != nil { // a removed segment leaves its number unused
			g.put(segmentName(int64(i+1)), data)
		}
	}
	var notes []byte
	for _, n := range g.notes {
		notes = append(append(notes, n...), '\n')
	}
	g.put(checkpointsName, notes)
}

func (g *forger) put(name string, data []byte) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), data, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// where finds record i.
func (g *forger) where(i int) (segment *forged, at int) {
	for s := range g.segments {
		if n := len(g.segments[s].records); i >= n {
			i -= n
			continue
		}
		return &g.segments[s], i
	}
	g.t.Fatalf("no record %d", i)
	return nil, 0
}

func (g *forger) record(i int) []byte {
	s, at := g.where(i)
	return s.records[at]
}

func (g *forger) change(i int, old, new string) {
	s, at := g.where(i)
	if !bytes.Contains(s.records[at], []byte(old)) {
		g.t.Fatalf("record %d has no %q: %s", i, old, s.records[at])
	}
	s.records[at] = bytes.Replace(s.records[at], []byte(old), []byte(new), 1)
}

func (g *forger) remove(i int) {
	s, at := g.where(i)
	s.records = append(s.records[:at:at], s.records[at+1:]...)
}

func (g *forger) insert(i int, payload []byte) {
	s, at := g.where(i)
	s.records = append(s.records[:at:at], append([][]byte{payload}, s.records[at:]...)...)
}

func (g *forger) swap(i, j int) {
	a, b := bytes.Clone(g.record(i)), bytes.Clone(g.record(j))
	s, at := g.where(i)
	s.records[at] = b
	s, at = g.where(j)
	s.records[at] = a
}

// relink makes the chain, the indexes and the segment headers right again, as
// far as that goes without the key.
func (g *forger) relink() {
	var log chain
	for s := range g.segments {
		g.segments[s].header = appendHeader(nil, &log)
		for i, p := range g.segments[s].records {
			p = bytes.Clone(p)
			putIndex(p[1+indexAt:1+indexAt+indexWidth], log.tree.size)
			hex.Encode(p[1+prevAt:], log.last[:prevWidth/2])
			g.segments[s].records[i] = p
			log.add(tlog.RecordHash(p[1:]))
		}
	}
}

// resign signs every checkpoint anew, with a key of the forger's own.
func (g *forger) resign(name string) {
	g.t.Helper()
	signing, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		g.t.Fatal(err)
	}
	signer, err := note.NewSigner(signing)
	if err != nil {
		g.t.Fatal(err)
	}
	g.signWith(signer)
}

// victim records 50 records in four segments: the start, eight sessions with a
// checkpoint after each, and the stop. Session N is records 6N+1 to 6N+6: its
// opening, two requests with their outcomes, its end. Segments begin at 0, 13,
// 25 and 37.
func victim(t *testing.T) *aLog {
	t.Helper()
	l := begin(t)
	close(l.stop) // only the test signs, so that every size is known
	l.running.Wait()
	l.stop = make(chan struct{})
	for i := range 8 {
		l.work(t, fmt.Sprintf("S%d", i), 2)
		if err := l.checkpoint(); err != nil {
			t.Fatal(err)
		}
		if i == 1 || i == 3 || i == 5 {
			l.mu.Lock()
			err := l.roll()
			l.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l
}

const victimSize = 50

func TestAForgerIsCaught(t *testing.T) {
	for _, tt := range []struct {
		name        string
		attack      func(g *forger)
		kind        string
		first, last int64
	}{
		{"nothing", func(g *forger) {}, "", 0, 0},
		{"change a statement", func(g *forger) { g.change(14, "select 1", "select 2") }, Changed, 14, 14},
		{"change a statement's length", func(g *forger) { g.change(14, "select 1", "select 1000") }, Changed, 14, 14},
		{"change a verdict", func(g *forger) { g.change(16, `"allow"`, `"deny"`) }, Changed, 16, 16},
		{"change a time", func(g *forger) { g.change(15, "12:00:00.1", "13:00:00.1") }, Changed, 15, 15},
		{"change the first record", func(g *forger) { g.change(0, "agentd/test", "agentd/tost") }, Changed, 0, 0},
		{"change what the first says of its predecessor", func(g *forger) { g.change(0, `"prev":"0`, `"prev":"1`) }, Changed, 0, 0},
		{"change the last record", func(g *forger) { g.change(victimSize-1, `"time":"2`, `"time":"1`) }, Changed, victimSize - 1, victimSize - 1},
		{"change the last but one", func(g *forger) { g.change(victimSize-2, "client", "server") }, Changed, victimSize - 2, victimSize - 2},
		{"change an index", func(g *forger) { g.change(14, "14,", "15,") }, Changed, 14, 14},
		{"change an index to one before", func(g *forger) { g.change(14, "14,", "13,") }, Changed, 14, 14},
		{"change a predecessor's hash", func(g *forger) {
			old := string(g.record(14)[1+prevAt : 1+prevAt+4])
			g.change(14, `"prev":"`+old, `"prev":"beef`)
		}, Changed, 14, 14},
		{"change two records in a row", func(g *forger) {
			g.change(14, "select 1", "select 2")
			g.change(15, "SELECT 1", "SELECT 2")
		}, Changed, 14, 15},
		{"change the front of a record", func(g *forger) { g.change(14, `"i":`, `"j":`) }, Changed, 14, 14},
		{"remove a record", func(g *forger) { g.remove(14) }, Removed, 14, 14},
		{"remove three records", func(g *forger) { g.remove(14); g.remove(14); g.remove(14) }, Removed, 14, 16},
		{"remove the first record", func(g *forger) { g.remove(0) }, Removed, 0, 0},
		{"remove the last record", func(g *forger) { g.remove(victimSize - 1) }, Truncated, victimSize - 1, victimSize - 1},
		{"swap neighbours", func(g *forger) { g.swap(14, 15) }, Reordered, 14, 14},
		{"swap records far apart", func(g *forger) { g.swap(9, 33) }, Reordered, 9, 9},
		{"swap the last two", func(g *forger) { g.swap(victimSize-2, victimSize-1) }, Reordered, victimSize - 2, victimSize - 2},
		{"repeat a record", func(g *forger) { g.insert(15, g.record(14)) }, Inserted, 15, 15},
		{"repeat a record later", func(g *forger) { g.insert(25, g.record(14)) }, Inserted, 25, 25},
		{"insert a record", func(g *forger) {
			g.insert(14, bytes.Replace(g.record(14), []byte("select 1"), []byte("select 7"), 1))
		}, Inserted, 14, 14},
		{"change and relink what follows", func(g *forger) {
			g.change(14, "select 1", "select 2")
			g.relink()
		}, Rewritten, 13, 18},
		{"remove and relink what follows", func(g *forger) { g.remove(14); g.relink() }, Rewritten, 13, 18},
		{"swap and relink what follows", func(g *forger) { g.swap(14, 17); g.relink() }, Rewritten, 13, 18},
		{"insert and relink what follows", func(g *forger) { g.insert(14, g.record(14)); g.relink() }, Rewritten, 13, 18},
		{"relink and sign with a new key", func(g *forger) {
			g.change(14, "select 1", "select 2")
			g.relink()
			g.resign("agentd/test")
		}, CheckpointWrongKey, 0, 0},
		{"sign as another node", func(g *forger) { g.resign("agentd/other") }, CheckpointWrongKey, 0, 0},
		{"change a checkpoint", func(g *forger) {
			g.notes[3] = bytes.Replace(g.notes[3], []byte("\n19\n"), []byte("\n18\n"), 1)
		}, CheckpointForged, 13, 13},
		{"remove all checkpoints", func(g *forger) { g.notes = nil }, CheckpointMissing, 0, victimSize - 1},
		{"swap checkpoints", func(g *forger) { g.notes[2], g.notes[3] = g.notes[3], g.notes[2] }, CheckpointReordered, 19, 19},
		{"remove a segment", func(g *forger) { g.segments[1].header = nil }, SegmentMissing, 13, 24},
		{"remove the first segment", func(g *forger) { g.segments[0].header = nil }, SegmentMissing, 0, 12},
		{"remove the last segment", func(g *forger) { g.segments = g.segments[:len(g.segments)-1] }, Truncated, 37, victimSize - 1},
		{"remove a segment and rename the rest", func(g *forger) {
			g.segments = append(g.segments[:1], g.segments[2:]...)
		}, Removed, 13, 24},
		{"remove the end of a segment", func(g *forger) { g.remove(12) }, Removed, 12, 12},
		{"change a header", func(g *forger) { g.segments[2].header[20] ^= 1 }, SegmentChanged, 25, 25},
		{"replace a header by another", func(g *forger) {
			g.segments[2].header = bytes.Clone(g.segments[1].header)
		}, SegmentChanged, 25, 25},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := victim(t)
			g := forge(t, l.opts.Dir)
			tt.attack(g)
			g.write()
			r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if tt.kind == "" {
				if !r.OK || r.Records != victimSize || r.Unsigned != 0 {
					t.Errorf("an untouched log: got %+v %v", r, r.Bad)
				}
				return
			}
			if r.OK || r.Bad == nil {
				t.Fatalf("got OK, want %s", tt.kind)
			}
			t.Log(r.Bad)
			if r.Bad.Kind != tt.kind || r.Bad.First != tt.first || r.Bad.Last != tt.last {
				t.Errorf("got %s, %d to %d (%v), want %s, %d to %d",
					r.Bad.Kind, r.Bad.First, r.Bad.Last, r.Bad, tt.kind, tt.first, tt.last)
			}
		})
	}
}

func TestARollBackIsCaughtByACheckpointKeptElsewhere(t *testing.T) {
	l := victim(t)
	g := forge(t, l.opts.Dir)
	kept := g.notes[len(g.notes)-1]
	for i := victimSize - 1; i >= 13; i-- {
		g.remove(i)
	}
	g.segments = g.segments[:1]
	g.notes = g.notes[:3] // the start's, S0's and S1's: of 13 records
	g.write()

	r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Fatalf("without a witness a roll-back cannot be seen; got %v", r.Bad)
	}
	r, err = Verify(l.opts.Dir, l.verifier(t), VerifyOptions{Checkpoints: [][]byte{kept}})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK || r.Bad.Kind != RolledBack || r.Bad.First != 13 || r.Bad.Last != victimSize-1 {
		t.Errorf("got %v, want %s of records 13 to %d", r.Bad, RolledBack, victimSize-1)
	}
}

// Who has no key but can stop the recorder may cut checkpoints off, rewrite what
// they covered, and let the next start sign that. It cannot be told from a
// crash, but how much was signed like that is told.
func TestWhatARestartSignedAsFoundIsCounted(t *testing.T) {
	l := victim(t)
	if r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{}); err != nil || !r.OK || r.Adopted != 0 {
		t.Errorf("after a tidy stop: got %v, %v, %d adopted; want OK and none", r.Bad, err, r.Adopted)
	}
	g := forge(t, l.opts.Dir)
	kept := g.notes[len(g.notes)-1]
	g.change(20, "select", "sel3ct")
	g.notes = g.notes[:3] // of 13 records
	g.relink()
	g.write()
	again(t, l.opts).Close()

	r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
	if err != nil || r.Adopted != victimSize-13 {
		t.Errorf("got %v, %v, %d adopted; want %d", r.Bad, err, r.Adopted, victimSize-13)
	}
	r, err = Verify(l.opts.Dir, l.verifier(t), VerifyOptions{Checkpoints: [][]byte{kept}})
	if err != nil || r.OK || r.Bad.Kind != Forked {
		t.Errorf("with a checkpoint kept elsewhere: got %v, %v, want %s", r.Bad, err, Forked)
	}
}

func TestAWitnessOfTheSameLogAgrees(t *testing.T) {
	l := victim(t)
	all := forge(t, l.opts.Dir).notes
	if r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{Checkpoints: all}); err != nil || !r.OK {
		t.Errorf("all checkpoints: got %v, %v, want OK", r.Bad, err)
	}
	file := bytes.Join(all, []byte("\n")) // as in the folder
	if r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{Checkpoints: [][]byte{file}}); err != nil || !r.OK {
		t.Errorf("all checkpoints in one file: got %v, %v, want OK", r.Bad, err)
	}
	for i, kept := range all {
		r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{Checkpoints: [][]byte{kept}})
		if err != nil || !r.OK {
			t.Errorf("checkpoint %d: got %v, %v, want OK", i, r.Bad, err)
		}
	}
}

func TestACheckpointRemovedBeforeARestartIsMissed(t *testing.T) {
	l := begin(t)
	l.work(t, "S1", 2)
	l.Close()
	l = again(t, l.opts)
	l.work(t, "S2", 2)
	l.Close()
	g := forge(t, l.opts.Dir)
	g.notes = append(g.notes[:2:2], g.notes[3:]...) // the stop's
	g.write()
	r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK || r.Bad.Kind != CheckpointMissing || r.Bad.First != 7 || r.Bad.Last != 7 {
		t.Errorf("got %v, want %s for record 7", r.Bad, CheckpointMissing)
	}
}

// Flipping any byte, with no care for checksums, is named at the record it is
// in.
func TestAnyFlippedByteIsNamed(t *testing.T) {
	l := victim(t)
	verifier := l.verifier(t)
	name := filepath.Join(l.opts.Dir, segmentName(1))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, at, err := parseHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	ends, end := []int{}, at
	for end < len(data) {
		end += frameHead + int(binary.LittleEndian.Uint32(data[end:]))
		ends = append(ends, end)
	}
	record := 0
	for i := range data {
		for record < len(ends)-1 && i >= ends[record] {
			record++
		}
		if i > at+2*frameHead && i%5 != 0 { // every byte of the header and the first frame's, then some
			continue
		}
		data[i] ^= 0x10
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		data[i] ^= 0x10
		r, err := Verify(l.opts.Dir, verifier, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK || r.Bad.First != int64(record) || r.Bad.Segment != segmentName(1) {
			t.Errorf("byte %d: got %v, want record %d", i, r.Bad, record)
		}
	}
}

// Cutting a signed log anywhere is named at the first record that is gone.
func TestAnyTruncationIsNamed(t *testing.T) {
	l := victim(t)
	verifier := l.verifier(t)
	g := forge(t, l.opts.Dir)
	number := len(g.segments)
	name := filepath.Join(l.opts.Dir, segmentName(int64(number)))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := len(data) - 1; size >= 0; size -= 3 {
		if err := os.Truncate(name, int64(size)); err != nil {
			t.Fatal(err)
		}
		want, end := 0, len(g.segments[number-1].header)
		for _, s := range g.segments[:number-1] {
			want += len(s.records)
		}
		for _, p := range g.segments[number-1].records {
			if end += frameHead + len(p); end > size {
				break
			}
			want++
		}
		r, err := Verify(l.opts.Dir, verifier, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK || r.Bad.First != int64(want) {
			t.Errorf("cut at %d: got %v, want record %d", size, r.Bad, want)
		}
		if _, err := Open(l.opts); err == nil {
			t.Fatalf("cut at %d: opened and signed over", size)
		}
	}
}
