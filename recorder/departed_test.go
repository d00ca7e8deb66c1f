package recorder

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What root can do to the folder, keys and all, and what is found of it with
// the checkpoints that had left the node, and without.
func TestCheckpointsThatHadLeftFindWhatTheFolderCannotShow(t *testing.T) {
	for _, tt := range []struct {
		name    string
		attack  func(l *aLog, g *forger)
		without string // the kind that is found without, "" if none is
		with    string
	}{
		{"roll back to a copy", func(_ *aLog, g *forger) {
			g.segments, g.notes = g.segments[:1], g.notes[:3]
		}, "", RolledBack},
		{"roll back to a copy, and go on", func(l *aLog, g *forger) {
			g.segments, g.notes = g.segments[:1], g.notes[:3]
			g.write()
			again(g.t, l.opts).Close()
			*g = *forge(g.t, g.dir)
		}, "", RolledBack},
		{"roll back to a copy, and go on beyond", func(l *aLog, g *forger) {
			g.segments, g.notes = g.segments[:1], g.notes[:3]
			g.write()
			next := again(g.t, l.opts)
			for range 10 {
				next.work(g.t, "other", 2)
			}
			next.Close()
			*g = *forge(g.t, g.dir)
		}, "", Forked},
		{"rewrite one record, and sign with the node's key", func(l *aLog, g *forger) {
			g.change(14, "select 1", "select 2")
			g.relink()
			g.signWith(l.signer)
		}, "", Forked},
		{"remove a record, and sign with the node's key", func(l *aLog, g *forger) {
			g.remove(14)
			g.relink()
			g.notes = g.notes[:len(g.notes)-1] // of one record more than are left
			g.signWith(l.signer)
		}, "", Forked},
		{"rebuild the whole with a new key", func(_ *aLog, g *forger) {
			g.change(14, "select 1", "select 2")
			g.relink()
			g.resign("agentd/test")
		}, CheckpointWrongKey, CheckpointWrongKey},
		{"remove the end with its checkpoints", func(_ *aLog, g *forger) {
			g.remove(victimSize - 1)
			g.notes = g.notes[:len(g.notes)-1]
		}, "", RolledBack},
		{"rewrite the end, and remove its checkpoints", func(_ *aLog, g *forger) {
			g.change(44, "select 1", "select 2")
			g.relink()
			g.notes = g.notes[:8]
		}, "", RolledBack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := victim(t)
			g := forge(t, l.opts.Dir)
			kept := bytes.Join(g.notes, []byte("\n"))
			tt.attack(l, g)
			g.write()
			for name, c := range map[string]struct {
				kept [][]byte
				want string
			}{"without": {nil, tt.without}, "with": {[][]byte{kept}, tt.with}} {
				r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{Checkpoints: c.kept})
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if r.Bad != nil {
					got = r.Bad.Kind
				}
				if got != c.want || r.OK != (c.want == "") {
					t.Errorf("%s: got %v, want %q", name, r.Bad, c.want)
				}
			}
		})
	}
}

// Any byte of a record, with the checksum made right again.
func TestAnyByteOfARecordWithARightChecksumIsNamed(t *testing.T) {
	l := victim(t)
	g := forge(t, l.opts.Dir)
	key := l.verifier(t)
	original := bytes.Clone(g.record(14))
	for i := range original {
		s, at := g.where(14)
		s.records[at] = bytes.Clone(original)
		s.records[at][i] ^= 0x04
		g.write()
		r, err := Verify(l.opts.Dir, key, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK || r.Bad.First > 14 || r.Bad.Last < 14 || r.Bad.First < 13 {
			t.Errorf("byte %d, %q: got %v, want record 14", i, original[i], r.Bad)
		}
	}
}

// Any byte of the checkpoints file: it is named, or it was one that ends or
// parts notes, or is no part of the signature, and then the log is still what
// the checkpoints kept elsewhere say.
func TestAnyByteOfTheCheckpointsIsNamedOrMeansNothing(t *testing.T) {
	l := victim(t)
	key := l.verifier(t)
	g := forge(t, l.opts.Dir)
	kept := bytes.Join(g.notes, []byte("\n"))
	whole, err := Verify(l.opts.Dir, key, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(l.opts.Dir, checkpointsName)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	silent := 0
	for i := range data {
		if i > 600 && i < len(data)-300 { // the first two and the last
			continue
		}
		data[i] ^= 0x10
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		data[i] ^= 0x10
		r, err := Verify(l.opts.Dir, key, VerifyOptions{Checkpoints: [][]byte{kept}})
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK {
			continue
		}
		silent++
		if r.Root != whole.Root || r.Signed != whole.Signed {
			t.Errorf("byte %d: got root %s, %d signed, want %s, %d", i, r.Root, r.Signed, whole.Root, whole.Signed)
		}
	}
	if silent > 8 {
		t.Errorf("%d bytes could be changed and nothing said, want at most a few", silent)
	}
	t.Logf("%d bytes mean nothing", silent)
}
