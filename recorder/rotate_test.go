package recorder

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"
)

// rotatedLog is a log whose key was rotated twice, with the three keys.
func rotatedLog(t *testing.T) (l *aLog, keys [3]string) {
	t.Helper()
	l = begin(t)
	for i := range keys {
		keys[i] = l.verifier(t)
		l.work(t, "S"+string(rune('1'+i)), 3)
		if err := l.checkpoint(); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if _, err := l.RotateKey("test"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l, keys
}

func verified(t *testing.T, dir, key string, opts VerifyOptions) Report {
	t.Helper()
	r, err := Verify(dir, key, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRotationsAreFollowedFromAnyKey(t *testing.T) {
	l, keys := rotatedLog(t)
	all := bytes.Join(forge(t, l.opts.Dir).notes, []byte("\n"))
	for i, key := range keys {
		var kept [][]byte
		if i == 0 { // the key that was there from the start knows them all
			kept = [][]byte{all}
		}
		r := verified(t, l.opts.Dir, key, VerifyOptions{Checkpoints: kept})
		if !r.OK || r.Unsigned != 0 || len(r.Rotated) != 2-i || (r.Began > 0) != (i > 0) {
			t.Errorf("key %d: got %v, %d unsigned, rotated %v, began %d; want it right, with %d rotations", i, r.Bad, r.Unsigned, r.Rotated, r.Began, 2-i)
		}
		if signed, err := LastCheckpoint(l.opts.Dir, key); err != nil || signed == nil {
			t.Errorf("key %d: the last checkpoint: %v", i, err)
		}
		b, err := Prove(l.opts.Dir, key, "S1", nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := CheckBundle(data, key); err != nil || !r.OK {
			t.Errorf("key %d: a bundle: got %+v, %v", i, r, err)
		}
	}
	next := again(t, l.opts) // and the log goes on
	next.work(t, "S4", 1)
	next.Close()
	if r := verified(t, l.opts.Dir, keys[0], VerifyOptions{}); !r.OK || len(r.Rotated) != 2 {
		t.Errorf("after another start: got %v", r.Bad)
	}
}

func TestTheKeyBeforeIsGoneAndItsPublicHalfStays(t *testing.T) {
	l := begin(t)
	before := l.verifier(t)
	was, err := os.ReadFile(l.opts.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := l.RotateKey("test")
	if err != nil {
		t.Fatal(err)
	}
	now := rotated.Now
	is, err := os.ReadFile(l.opts.KeyFile)
	if err != nil || bytes.Equal(is, was) || !strings.HasPrefix(l.verifier(t), now) || rotated.Before == now {
		t.Errorf("got %q, %v, want the key of %s", l.verifier(t), err, now)
	}
	hash := strings.Split(before, "+")[1]
	kept, err := os.ReadFile(l.opts.KeyFile + "." + hash + ".pub")
	if err != nil || strings.TrimSpace(string(kept)) != before {
		t.Errorf("the key before: got %q, %v, want %q", kept, err, before)
	}
	if stat, err := os.Stat(l.opts.KeyFile); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", stat.Mode(), err)
	}
}

// At whichever step a crash comes, the next start has one key, and the log
// verifies with the first.
func TestARotationThatACrashCutShortIsEnded(t *testing.T) {
	for _, step := range []string{"made", "recorded", "signed", "public"} {
		t.Run(step, func(t *testing.T) {
			l := begin(t)
			key := l.verifier(t)
			l.work(t, "S1", 2)
			next, err := makeNext(l.opts.KeyFile, l.opts.Node)
			if err != nil {
				t.Fatal(err)
			}
			if step != "made" {
				var turn Turn
				noteRecord(&turn, time.Now(), keyKind, "", []any{"old", key, "new", next.verifying})
				l.commit(t, &turn)
			}
			if step == "signed" || step == "public" {
				if err := l.sign(next); err != nil {
					t.Fatal(err)
				}
			}
			if step == "public" {
				if err := writeFile(l.opts.KeyFile+".pub", strings.NewReader(next.verifying+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			l.lock.Close() // as if it had been killed
			again := again(t, l.opts)
			again.work(t, "S2", 2)
			again.Close()
			if _, err := os.Stat(l.opts.KeyFile + nextSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the key that was not in use is still there: %v", err)
			}
			r := verified(t, l.opts.Dir, key, VerifyOptions{})
			want := 0
			if step == "signed" || step == "public" {
				want = 1
			}
			if !r.OK || len(r.Rotated) != want {
				t.Errorf("got %v, rotated %v, want %d rotations", r.Bad, r.Rotated, want)
			}
			if took := again.verifier(t) != key; took != (want == 1) {
				t.Errorf("got the new key in use: %v", took)
			}
		})
	}
}

func TestAForgedRotationIsNamed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attack func(l *aLog, g *forger)
		key    int
		kind   string
	}{
		{"the checkpoint that hands on is gone", func(_ *aLog, g *forger) {
			g.notes = append(g.notes[:2:2], g.notes[3:]...)
		}, 0, CheckpointWrongKey},
		{"it is signed with the new key alone", func(_ *aLog, g *forger) {
			g.notes[2] = without(g.t, g.notes[2], 0)
		}, 0, CheckpointWrongKey},
		{"it is signed with the key before alone", func(_ *aLog, g *forger) {
			g.notes[2] = without(g.t, g.notes[2], 1)
		}, 0, RotationForged},
		{"to a key of the forger's", func(_ *aLog, g *forger) {
			signer, verifier := aKey(g.t)
			c, _ := parseCheckpoint(string(g.notes[3]))
			c.Next = verifier
			forgedNote, err := c.sign(signer)
			if err != nil {
				g.t.Fatal(err)
			}
			g.notes = append(g.notes[:3:3], forgedNote)
		}, 0, CheckpointWrongKey},
		{"with the stolen key, and no record", func(l *aLog, g *forger) {
			own, verifier := aKey(g.t)
			c, _ := parseCheckpoint(string(g.notes[len(g.notes)-1]))
			c.Next = verifier
			handed, err := c.sign(l.signer, own)
			if err != nil {
				g.t.Fatal(err)
			}
			g.notes[len(g.notes)-1] = handed
		}, 0, RotationForged},
		{"the record of it is changed", func(_ *aLog, g *forger) {
			for i := range g.count() {
				if bytes.Contains(g.record(i), []byte(`"kind":"key"`)) {
					g.change(i, "another key", "some other key")
					return
				}
			}
			g.t.Fatal("no record of a rotation")
		}, 0, Changed},
		{"all is signed anew with another key", func(_ *aLog, g *forger) {
			g.change(2, "select 1", "select 2")
			g.relink()
			g.resign("agentd/test")
		}, 0, CheckpointWrongKey},
		{"what the key before signed is changed, the new key given", func(_ *aLog, g *forger) {
			g.change(2, "select 1", "select 2")
			g.relink()
		}, 2, Rewritten},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, keys := rotatedLog(t)
			g := forge(t, l.opts.Dir)
			tt.attack(l, g)
			g.write()
			r := verified(t, l.opts.Dir, keys[tt.key], VerifyOptions{})
			if r.OK || r.Bad.Kind != tt.kind {
				t.Errorf("got %v, want %s", r.Bad, tt.kind)
			}
		})
	}
}

// Who has the key that was there before, and puts the folder back to that time.
func TestARollBackToBeforeARotationIsNamed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		forge   func(l *aLog, g *forger)
		with    string
		without string
	}{
		{"and leaves it", func(*aLog, *forger) {}, RolledBack, ""},
		{"and goes on with the key before", func(l *aLog, g *forger) {
			g.write()
			again := again(g.t, l.opts)
			for i := range 5 {
				again.work(g.t, fmt.Sprintf("X%d", i), 3)
			}
			again.Close()
			*g = *forge(g.t, g.dir)
		}, Forked, ""},
		{"and rotates to another", func(l *aLog, g *forger) {
			g.write()
			again := again(g.t, l.opts)
			again.work(g.t, "X", 1)
			if _, err := again.RotateKey("forger"); err != nil {
				g.t.Fatal(err)
			}
			again.Close()
			*g = *forge(g.t, g.dir)
		}, Forked, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := begin(t)
			key := l.verifier(t)
			stolen, err := os.ReadFile(l.opts.KeyFile)
			if err != nil {
				t.Fatal(err)
			}
			l.work(t, "S1", 3)
			if err := l.checkpoint(); err != nil {
				t.Fatal(err)
			}
			before := forge(t, l.opts.Dir)
			rotated, err := l.RotateKey("test")
			if err != nil {
				t.Fatal(err)
			}
			l.work(t, "S2", 3)
			l.Close()
			kept := [][]byte{rotated.Checkpoint, l.Latest()}
			for name, text := range map[string]string{l.opts.KeyFile: string(stolen), l.opts.KeyFile + ".pub": key + "\n"} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tt.forge(l, before)
			before.write()
			for _, c := range []struct {
				kept [][]byte
				want string
			}{{kept, tt.with}, {nil, tt.without}} {
				r := verified(t, l.opts.Dir, key, VerifyOptions{Checkpoints: c.kept})
				got := ""
				if r.Bad != nil {
					got = r.Bad.Kind
				}
				if got != c.want {
					t.Errorf("with %d kept elsewhere: got %v, want %q", len(c.kept), r.Bad, c.want)
				}
			}
		})
	}
}

func TestAKeyIsNotRotatedInALogThatIsAway(t *testing.T) {
	l := begin(t)
	l.freeze()
	l.mu.Lock()
	frozen := l.frozen
	l.mu.Unlock()
	if err := l.announce("a", "b", "test"); err == nil || !frozen {
		t.Errorf("got %v, want that it is being handed over", err)
	}
	l.thaw()
	if _, err := l.RotateKey("test"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Who still has a key that was rotated away cannot sign anything newer.
func TestAKeyThatWasRotatedAwaySignsNothingNewer(t *testing.T) {
	l := begin(t)
	stolen := l.signer
	key := l.verifier(t)
	l.work(t, "S1", 2)
	if _, err := l.RotateKey("test"); err != nil {
		t.Fatal(err)
	}
	l.work(t, "S2", 2)
	l.Close()
	c, err := parseCheckpoint(string(l.Latest()))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.sign(stolen)
	if err != nil {
		t.Fatal(err)
	}
	if r := verified(t, l.opts.Dir, key, VerifyOptions{Checkpoints: [][]byte{signed}}); r.OK || r.Bad.Kind != Forked || !strings.Contains(r.Bad.Detail, "rotated away") {
		t.Errorf("kept elsewhere: got %v, want that the key was rotated away", r.Bad)
	}
	g := forge(t, l.opts.Dir)
	g.notes[len(g.notes)-1] = signed
	g.write()
	if r := verified(t, l.opts.Dir, key, VerifyOptions{}); r.OK || r.Bad.Kind != CheckpointWrongKey {
		t.Errorf("in the folder: got %v, want %s", r.Bad, CheckpointWrongKey)
	}
}

func TestSilenceIsBoundedByHeartbeats(t *testing.T) {
	l := begin(t, func(o *Options) { o.Interval, o.Heartbeat = 2*time.Millisecond, 20*time.Millisecond })
	start := l.Stats().TreeSize
	for l.Stats().TreeSize < start+5 { // all of them heartbeats
		<-time.After(time.Millisecond)
	}
	l.Close()
	r := verified(t, l.opts.Dir, l.verifier(t), VerifyOptions{})
	if !r.OK || r.Heartbeat != 20*time.Millisecond || r.Quiet < 20*time.Millisecond || r.QuietUntil.IsZero() {
		t.Errorf("got %v, quiet for %v of %v, want at least a heartbeat", r.Bad, r.Quiet, r.Heartbeat)
	}
	next := again(t, l.opts) // the time between is none in which anybody recorded
	next.Close()
	if again := verified(t, l.opts.Dir, l.verifier(t), VerifyOptions{}); again.Quiet > r.Quiet+time.Second {
		t.Errorf("got quiet for %v after a restart", again.Quiet)
	}
}

func (g *forger) count() (n int) {
	for _, s := range g.segments {
		n += len(s.records)
	}
	return n
}

// without returns a note without one of its signatures.
func without(t *testing.T, signed []byte, i int) []byte {
	t.Helper()
	text, sigs, _ := bytes.Cut(signed, []byte("\n\n"))
	lines := bytes.SplitAfter(sigs, []byte("\n"))
	lines = append(lines[:i:i], lines[i+1:]...)
	return append(append(bytes.Clone(text), "\n\n"...), bytes.Join(lines, nil)...)
}

func aKey(t *testing.T) (note.Signer, string) {
	t.Helper()
	signing, verifying, err := note.GenerateKey(rand.Reader, "agentd/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(signing)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifying
}

// A key on a mount of its own, which becomes read-only, and of another user.
func TestAKeyOnAnotherMountSignsAndIsNotRotatedWhereItCannotBeWritten(t *testing.T) {
	mount := smallDisk(t)
	file := filepath.Join(mount, "node.key")
	l := begin(t, func(o *Options) { o.KeyFile = file })
	key := l.verifier(t)
	l.Close()
	if err := errors.Join(os.Chown(file, 4711, 4711), os.Remove(file+".pub")); err != nil {
		t.Fatal(err)
	}
	l = again(t, l.opts) // brought without its public half
	if got := l.verifier(t); got != key {
		t.Errorf("got the verifier key %q, want %q", got, key)
	}
	if err := unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := l.RotateKey("test"); err == nil || !strings.Contains(err.Error(), "beside the one in use") {
		t.Errorf("got %v, want that it cannot be written", err)
	}
	l.work(t, "S1", 2)
	l.Close()
	if r := verified(t, l.opts.Dir, key, VerifyOptions{}); !r.OK || len(r.Rotated) != 0 {
		t.Errorf("got %v, %v, want it right, and not rotated", r.Bad, r.Rotated)
	}

	opts := l.opts
	opts.KeyFile = filepath.Join(mount, "other.key")
	if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), "none can be made") {
		t.Errorf("no key there: got %v, want that none can be made", err)
	}
	if err := unix.Mount("", mount, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(l.opts); err == nil || !strings.Contains(err.Error(), "others could sign with it") {
		t.Errorf("a group may read it: got %v, want a refusal", err)
	}
}
