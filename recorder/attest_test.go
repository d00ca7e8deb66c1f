package recorder

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A notary cosigns as a witness does. It sees whatever it is shown: what
// witnesses check is tested with a real one (agentd/witness).
type notary struct {
	key     *WitnessKey
	private ed25519.PrivateKey
	now     time.Time // advances with each
}

func newNotary(t testing.TB, name string) *notary {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseWitnessKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return &notary{key, private, at}
}

// cosign returns a signed note with the notary's signature.
func (n *notary) cosign(signed []byte) []byte {
	n.now = n.now.Add(time.Minute)
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", n.now.Unix(), text)
	raw := binary.BigEndian.AppendUint32(nil, n.key.KeyHash())
	raw = binary.BigEndian.AppendUint64(raw, uint64(n.now.Unix()))
	raw = append(raw, ed25519.Sign(n.private, message)...)
	return fmt.Appendf(bytes.Clone(signed), "— %s %s\n", n.key.Name(), base64.StdEncoding.EncodeToString(raw))
}

// witness keeps beside the log what a notary cosigns of its checkpoints.
func (n *notary) witness(t *testing.T, dir string, notes ...[]byte) {
	t.Helper()
	w, err := OpenWitnessed(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, signed := range notes {
		if err := w.Add(n.cosign(signed)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatWasWitnessedFindsWhatTheFolderCannotShow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attack func(l *aLog, g *forger)
		with   string
	}{
		{"nothing", func(*aLog, *forger) {}, ""},
		{"roll back to a copy", func(_ *aLog, g *forger) { g.segments, g.notes = g.segments[:1], g.notes[:3] }, RolledBack},
		{"rewrite one record, and sign with the node's key", func(l *aLog, g *forger) {
			g.change(14, "select 1", "select 2")
			g.relink()
			g.signWith(l.signer)
		}, Forked},
		{"remove the end with its checkpoints", func(_ *aLog, g *forger) {
			g.remove(victimSize - 1)
			g.notes = g.notes[:len(g.notes)-1]
		}, RolledBack},
		{"rebuild the whole with a new key", func(_ *aLog, g *forger) {
			g.relink()
			g.resign("agentd/test")
		}, CheckpointWrongKey},
		{"hand the log on to a key of the forger's, and rewrite it", func(l *aLog, g *forger) {
			own, verifier := aKey(g.t)
			g.change(14, "select 1", "select 2")
			g.relink()
			g.signWith(l.signer)
			c, _ := parseCheckpoint(string(g.notes[1]))
			c.Next = verifier
			handed, err := c.sign(l.signer, own)
			if err != nil {
				g.t.Fatal(err)
			}
			g.notes[1] = handed
			for i := range g.notes[2:] {
				c, _ := parseCheckpoint(string(g.notes[2+i]))
				if g.notes[2+i], err = c.sign(own); err != nil {
					g.t.Fatal(err)
				}
			}
		}, Forked}, // what it cosigned is signed with the key that this hands on from
		{"remove what was witnessed", func(_ *aLog, g *forger) {
			if err := os.Remove(filepath.Join(g.dir, witnessedName)); err != nil {
				g.t.Fatal(err)
			}
		}, NotWitnessed},
		{"empty it", func(_ *aLog, g *forger) { g.put(witnessedName, nil) }, NotWitnessed},
		{"put another witness's in its place", func(l *aLog, g *forger) {
			g.put(witnessedName, nil)
			newNotary(g.t, "witness.test/other").witness(g.t, g.dir, g.notes...)
		}, NotWitnessed},
		{"put one of the same name in its place", func(l *aLog, g *forger) {
			g.put(witnessedName, nil)
			newNotary(g.t, "witness.test/w1").witness(g.t, g.dir, g.notes...)
		}, WitnessForged},
		{"swap what was witnessed", func(_ *aLog, g *forger) {
			data := g.read(witnessedName)
			first, rest, _ := nextNote(data)
			second, rest, _ := nextNote(rest)
			g.put(witnessedName, bytes.Join([][]byte{second, first, rest}, []byte("\n")))
		}, WitnessForged},
		{"move a cosignature to another checkpoint", func(_ *aLog, g *forger) {
			data := g.read(witnessedName)
			first, rest, _ := nextNote(data)
			second, _, _ := nextNote(rest)
			stolen := first[bytes.LastIndex(first, []byte("— ")):]
			moved := append(second[:bytes.LastIndex(second, []byte("— "))], stolen...)
			g.put(witnessedName, append(moved, '\n'))
		}, WitnessForged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := victim(t)
			n := newNotary(t, "witness.test/w1")
			g := forge(t, l.opts.Dir)
			n.witness(t, l.opts.Dir, g.notes...)
			tt.attack(l, g)
			g.write()
			r := verified(t, l.opts.Dir, l.verifier(t), VerifyOptions{Witnesses: []*WitnessKey{n.key}})
			got := ""
			if r.Bad != nil {
				got = r.Bad.Kind
			}
			if got != tt.with || r.OK != (tt.with == "") {
				t.Errorf("got %v, want %q", r.Bad, tt.with)
			}
		})
	}
}

func TestAnyByteOfWhatWasWitnessedIsNamedOrMeansNothing(t *testing.T) {
	l := victim(t)
	key := l.verifier(t)
	n := newNotary(t, "witness.test/w1")
	n.witness(t, l.opts.Dir, forge(t, l.opts.Dir).notes[5:]...)
	name := filepath.Join(l.opts.Dir, witnessedName)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	whole := verified(t, l.opts.Dir, key, VerifyOptions{Witnesses: []*WitnessKey{n.key}})
	var silent []int
	for i := range data {
		if i > 450 && i < len(data)-450 { // the first and the last
			continue
		}
		data[i] ^= 0x10
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		data[i] ^= 0x10
		r := verified(t, l.opts.Dir, key, VerifyOptions{Witnesses: []*WitnessKey{n.key}})
		if r.OK && r.Witnessed[0] == whole.Witnessed[0] {
			t.Errorf("byte %d, %q: nothing said, and all the same", i, data[i])
		} else if r.OK {
			silent = append(silent, i)
		}
		if r.OK && (r.Witnessed[0].Count >= whole.Witnessed[0].Count || r.Root != whole.Root) {
			t.Errorf("byte %d, %q: got %+v, want fewer than %d cosignatures", i, data[i], r.Witnessed[0], whole.Witnessed[0].Count)
		}
	}
	t.Logf("%d bytes make a cosignature one that is not there, as a removed one is", len(silent))
}

func TestTheSilenceBetweenCosignaturesIsTold(t *testing.T) {
	l := victim(t)
	n := newNotary(t, "witness.test/w1")
	notes := forge(t, l.opts.Dir).notes
	n.witness(t, l.opts.Dir, notes[:4]...)
	n.now = n.now.Add(time.Hour)
	n.witness(t, l.opts.Dir, notes[3:]...)
	r := verified(t, l.opts.Dir, l.verifier(t), VerifyOptions{Witnesses: []*WitnessKey{n.key}})
	w := r.Witnessed[0]
	if !r.OK || w.Silence != time.Hour+time.Minute || w.Count != len(notes)+1 || w.Size != victimSize || !w.At.Equal(n.now.Truncate(time.Second)) {
		t.Errorf("got %v, %+v, want an hour and a minute", r.Bad, w)
	}
}

func TestWhatIsNoWitnessKeyIsSaid(t *testing.T) {
	n := newNotary(t, "witness.test/w1")
	public := base64.StdEncoding.EncodeToString(append([]byte{4}, n.key.key...))
	good := fmt.Sprintf("witness.test/w1+%08x+%s", n.key.hash, public)
	if k, err := ParseWitnessKey(good + "\n"); err != nil || k.hash != n.key.hash {
		t.Errorf("the key of type 4: got %v, %v", k, err)
	}
	for text, want := range map[string]string{
		"":                "no witness's key",
		"witness.test/w1": "no witness's key",
		"a b" + good[15:]: "no witness's key",
		"x" + good:        "has the hash",
		"w+00000000+AQID": "of type 1",
		"w+00000000+Bg==": "of type 6",
	} {
		if _, err := ParseWitnessKey(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
