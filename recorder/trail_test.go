package recorder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// From any size to any other, whether or not it was asked for sizes between,
// and over segments.
func TestATrailProvesEveryLaterLog(t *testing.T) {
	l := victim(t)
	notes := forge(t, l.opts.Dir).notes
	roots := map[int64]tlog.Hash{}
	var log tree
	for i := range victimSize {
		log.add(tlog.RecordHash(forge(t, l.opts.Dir).record(i)[1:]))
		roots[log.size] = log.root()
	}
	for from := range int64(victimSize + 1) {
		trail, err := NewTrail(l.opts.Dir, from)
		if err != nil {
			t.Fatalf("from %d: %v", from, err)
		}
		for i, signed := range notes {
			c, err := parseCheckpoint(string(signed))
			if err != nil {
				t.Fatal(err)
			}
			if c.Size < from {
				continue
			}
			proof, err := trail.Proof(signed)
			if err != nil {
				t.Fatalf("from %d to %d: %v", from, c.Size, err)
			}
			if from == 0 || from == c.Size {
				if len(proof) != 0 {
					t.Errorf("from %d to %d: got a proof of %d hashes, want none", from, c.Size, len(proof))
				}
			} else if err := tlog.CheckTree(proof, c.Size, c.Root, from, roots[from]); err != nil {
				t.Errorf("from %d to %d: %v", from, c.Size, err)
			}
			if i%3 == 2 {
				trail.Knows()
				from = c.Size
			}
		}
		trail.Close()
	}
}

func TestATrailReadsEachRecordOnce(t *testing.T) {
	l := begin(t, func(o *Options) { o.SegmentBytes = 64 << 10 })
	trail, err := NewTrail(l.opts.Dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer trail.Close()
	for i := range 50 {
		l.work(t, fmt.Sprintf("S%d", i), 10)
		if err := l.checkpoint(); err != nil {
			t.Fatal(err)
		}
		if _, err := trail.Proof(l.Latest()); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 { // otherwise the witness was away
			trail.Knows()
		}
	}
	total := int64(0)
	for _, s := range sizesOf(t, l.opts.Dir) {
		total += s
	}
	if trail.Read > total {
		t.Errorf("got %d bytes read, want at most the %d there are", trail.Read, total)
	}
	if len(sizesOf(t, l.opts.Dir)) < 3 {
		t.Error("there are fewer than three segments")
	}

	last, err := NewTrail(l.opts.Dir, l.Stats().SignedSize)
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if most := int64(64<<10 + 2<<10); last.Read > most {
		t.Errorf("a trail from the end: got %d bytes read, want at most a segment, %d", last.Read, most)
	}
}

func sizesOf(t *testing.T, dir string) (sizes []int64) {
	t.Helper()
	numbers, err := segmentNumbers(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		stat, err := os.Stat(filepath.Join(dir, segmentName(n)))
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, stat.Size())
	}
	return sizes
}

func TestATrailProvesNothingOfALogThatWasChanged(t *testing.T) {
	l := victim(t)
	g := forge(t, l.opts.Dir)
	last := g.notes[len(g.notes)-1]
	g.change(14, "select 1", "select 2")
	g.relink()
	g.write()
	trail, err := NewTrail(l.opts.Dir, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer trail.Close()
	if _, err := trail.Proof(last); !errors.Is(err, errOtherLog) {
		t.Errorf("got %v, want %v", err, errOtherLog)
	}
}
