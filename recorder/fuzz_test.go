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
