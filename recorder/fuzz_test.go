package recorder

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

func FuzzSegment(f *testing.F) {
	l := begin(f)
	l.work(f, "S1", 1)
	l.Close()
	data, err := os.ReadFile(filepath.Join(l.opts.Dir, segmentName(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, err := openFrames(bytes.NewReader(data))
		for err == nil {
			before := frames.offset
			_, err = frames.frame()
			if err == nil && frames.offset <= before {
				t.Fatal("no progress")
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	l := begin(f)
	l.work(f, "S1", 1)
	l.Close()
	verifier := l.verifier(f)
	for _, p := range payloads(f, l.opts.Dir) {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		payload := append([]byte{0}, data...)
		if _, err := readLink(payload); err == nil {
			recordType(data)
			sessionOf(payload)
		}
		if r, err := parseRecord(payload); err == nil {
			(&Summary{}).count(r)
			b := transcribing{Transcript: &Transcript{}, id: r.Session, bySeq: map[uint64]*Entry{}}
			if err := b.add(payload); err != nil {
				t.Error(err)
			}
		}
		// A whole log of this one record is verified, whatever it says.
		dir := t.TempDir()
		log := appendHeader(nil, &chain{})
		log = binary.LittleEndian.AppendUint32(log, uint32(len(payload)))
		log = binary.LittleEndian.AppendUint32(log, crc32.Checksum(payload, castagnoli))
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), append(log, payload...), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(dir, verifier, VerifyOptions{}); err != nil || r.OK && r.Torn == nil {
			t.Errorf("got %+v, %v: there is no checkpoint", r, err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add("agentd/test\n1\n16JhgHlF0EITVeHMQqZ77hgt46xsj0FnS8io9wa0WcE=\n")
	f.Add("agentd/test\n0\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCheckpoint(text)
		if err == nil && (c.Size < 0 || c.Origin == "") {
			t.Errorf("got %+v", c)
		}
		for rest := []byte(text); ; {
			_, after, ok := nextNote(rest)
			if !ok {
				break
			}
			if len(after) >= len(rest) {
				t.Fatal("no progress")
			}
			rest = after
		}
		noteStart([]byte(text))
	})
}

// Nothing that a witness answers is kept but its own signature of what it was
// asked to sign.
func FuzzWhatAWitnessAnswers(f *testing.F) {
	l := begin(f)
	l.work(f, "S1", 1)
	l.Close()
	n := newNotary(f, "witness.test/w1")
	signed := l.Latest()
	cosigned := n.cosign(signed)
	f.Add(cosigned[len(signed):])
	f.Add(bytes.Repeat(cosigned[len(signed):], 3))
	f.Add([]byte("— witness.test/w1 AAAA\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := n.key.Cosign(signed, answer)
		if err == nil && !bytes.Equal(got, cosigned) {
			t.Errorf("%q: got %q, want %q or an error", answer, got, cosigned)
		}
	})
}

// Keys are followed to those alone that the key before has signed for.
func FuzzWhatHandsALogOn(f *testing.F) {
	l := begin(f)
	key := l.verifier(f)
	r, err := l.RotateKey("test")
	if err != nil {
		f.Fatal(err)
	}
	now := l.verifier(f)
	f.Add(r.Checkpoint)
	f.Add(bytes.Repeat(append(r.Checkpoint, '\n'), 2))
	f.Fuzz(func(t *testing.T, file []byte) {
		ring, err := openKeyring(t.TempDir(), key, file)
		if err != nil {
			return
		}
		if len(ring.keys) > 2 || len(ring.keys) == 2 && keyName(ring.keys[1]) != r.Now || ring.forked != nil {
			t.Errorf("%q: got %d keys, want %s and at most %s", file, len(ring.keys), key, now)
		}
	})
}
