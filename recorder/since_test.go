package recorder

import (
	"bytes"
	"testing"
	"time"
)

// The victim's segments begin at 0, 13, 25 and 37, its checkpoints are of 1, 7,
// 13, ... 49 and 50 records.
func TestSinceReadsOnlyWhatIsAfter(t *testing.T) {
	l := victim(t)
	key := l.verifier(t)
	notes := forge(t, l.opts.Dir).notes
	for _, tt := range []struct {
		name      string
		opts      VerifyOptions
		from      int64
		confirmed int64
		segments  int
	}{
		{"a checkpoint in the third segment", VerifyOptions{SinceCheckpoint: notes[5]}, 25, 25, 2},
		{"the last of several checkpoints", VerifyOptions{SinceCheckpoint: bytes.Join(notes[:6], []byte("\n"))}, 25, 25, 2},
		{"a checkpoint in the first", VerifyOptions{SinceCheckpoint: notes[1]}, 0, 0, 4},
		{"the last checkpoint", VerifyOptions{SinceCheckpoint: notes[len(notes)-1]}, 37, 37, 1},
		{"a time after all", VerifyOptions{Since: time.Now().Add(time.Hour)}, 37, 37, 1},
		{"a time before all", VerifyOptions{Since: at.Add(-time.Hour)}, 0, 0, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := verified(t, l.opts.Dir, key, tt.opts)
			if !r.OK || r.From != tt.from || r.Confirmed != tt.confirmed || r.Segments != tt.segments || r.Records != victimSize {
				t.Errorf("got %v, from %d, confirmed by %d, %d segments, %d records; want from %d, %d, %d", r.Bad, r.From, r.Confirmed, r.Segments, r.Records, tt.from, tt.confirmed, tt.segments)
			}
		})
	}
	r := verified(t, l.opts.Dir, key, VerifyOptions{SinceCheckpoint: notes[5], Checkpoints: [][]byte{bytes.Join(notes, []byte("\n"))}})
	if !r.OK || r.Passed != 4 {
		t.Errorf("with all checkpoints kept elsewhere: got %v, %d passed over, want 4", r.Bad, r.Passed)
	}
}

func TestSinceNamesWhatIsWrongAfterAndWhatItRestsOn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attack func(g *forger)
		kind   string
	}{
		{"a record after it", func(g *forger) { g.change(40, "select 1", "select 2") }, Changed},
		{"a record before it", func(g *forger) { g.change(14, "select 1", "select 2") }, ""},
		{"a record before it, with what rests on it", func(g *forger) {
			g.change(14, "select 1", "select 2")
			g.relink()
		}, Rewritten},
		{"the header it begins with", func(g *forger) { g.segments[3].header[20] ^= 1 }, SegmentChanged},
		{"all checkpoints after it", func(g *forger) { g.notes = g.notes[:3] }, CheckpointMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := victim(t)
			g := forge(t, l.opts.Dir)
			tt.attack(g)
			g.write()
			r := verified(t, l.opts.Dir, l.verifier(t), VerifyOptions{Since: time.Now().Add(time.Hour)})
			got := ""
			if r.Bad != nil {
				got = r.Bad.Kind
			}
			if got != tt.kind || r.OK != (tt.kind == "") {
				t.Errorf("got %v, want %q", r.Bad, tt.kind)
			}
		})
	}
}
