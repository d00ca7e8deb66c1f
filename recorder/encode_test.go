package recorder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// exactly returns the bytes that a Text kept.
func (t *Text) exactly() string {
	if t.Raw != nil {
		return string(t.Raw)
	}
	return t.Text
}

// roundTrip writes a statement as a record and reads it back.
func roundTrip(t testing.TB, text string) *record {
	t.Helper()
	var turn Turn
	log := newLog(&turn, aSession("S"), nil)
	turn.reset()
	log.Asked(&turn, at, statement(1, text), allowed)
	var c chain
	c.seal(turn.buf)
	r, err := parseRecord(turn.buf[frameHead:])
	if err != nil {
		t.Fatalf("%q: %v: %s", text, err, turn.buf)
	}
	if !utf8.Valid(turn.buf[frameHead:]) {
		t.Fatalf("%q: the record is not UTF-8", text)
	}
	return r
}

func TestAnyTextIsKeptExactly(t *testing.T) {
	for _, text := range []string{
		"select 1", `say "hi" \ there`, "tab\tnewline\nreturn\rnul\x00del\x7fesc\x1b", "grüße, 世界 🎉",
		"latin-1: gr\xfc\xdfe", "\xff", "\xed\xa0\x80", "cut \xe4\xb8", "a real \ufffd", "</script>\u2028",
	} {
		r := roundTrip(t, text)
		if got := r.Text.exactly(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
		if (r.Raw != nil) == utf8.ValidString(text) {
			t.Errorf("%q: raw bytes only for what is not UTF-8; got %q", text, r.Raw)
		}
	}
}

func TestALongTextIsCutAndItsHashKept(t *testing.T) {
	text := strings.Repeat("ä", maxText)
	r := roundTrip(t, "x"+text)
	sum := sha256.Sum256([]byte("x" + text))
	if r.Text.Bytes != int64(len(text))+1 || r.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("got %d bytes, %s, want %d, %x", r.Text.Bytes, r.SHA256, len(text)+1, sum)
	}
	if got := r.Text.Text; len(got) != maxText-1 || r.Raw != nil {
		t.Errorf("got %d bytes kept, want %d: none cut within a character", len(got), maxText-1)
	}
}

func FuzzText(f *testing.F) {
	f.Add("select 'x' \xff \\ \" \n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxText {
			return
		}
		if r := roundTrip(t, text); r.Text.exactly() != text {
			t.Errorf("got %q, want %q", r.Text.exactly(), text)
		}
	})
}

// What an event's Record leaves out of its Text is nowhere on the disk.
func TestSecretsAreNotRecorded(t *testing.T) {
	l := begin(t)
	var turn Turn
	log, err := l.Begin(&turn, aSession("S"))
	if err != nil {
		t.Fatal(err)
	}
	const secret = "hunter2-correct-horse"
	for i, kind := range []decoders.Kinds{
		decoders.Login, decoders.Prepare, decoders.Request, decoders.Columns, decoders.Cancel, decoders.Outcome, decoders.Own,
	} {
		ev := decoders.Event{
			Kind: kind, Seq: uint64(i + 1), Text: []byte("alter role a password '" + secret + "'"),
			Record: []byte("alter role a password '?'"), Columns: []decoders.Column{{Name: "password"}},
		}
		if kind&(decoders.Outcome|decoders.Own) != 0 {
			log.Told(&turn, at, &ev)
		} else {
			log.Asked(&turn, at, &ev, policy.Verdict{Outcome: policy.Rewrite, Masks: []decoders.Mask{{Index: 0, As: "***"}}})
		}
	}
	empty := decoders.Event{Kind: decoders.Request, Seq: 9, Text: []byte(secret)}
	log.Asked(&turn, at, &empty, allowed)
	log.End(&turn, at, End{})
	l.commit(t, &turn)
	l.Close()
	err = filepath.WalkDir(filepath.Dir(l.opts.Dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	l := begin(t)
	var turn Turn
	log, err := l.Begin(&turn, aSession("S"))
	if err != nil {
		t.Fatal(err)
	}
	asked, told := statement(0, "select 1"), outcome(0, decoders.Result{Rows: 1, Tag: "SELECT 1"})
	seq := uint64(0)
	got := testing.AllocsPerRun(200, func() {
		for range 8 {
			seq++
			asked.Seq, told.Seq = seq, seq
			log.Asked(&turn, at, asked, allowed)
			log.Told(&turn, at, told)
		}
		if err := l.Commit(&turn); err != nil {
			t.Error(err)
		}
	})
	if got > 0 {
		t.Errorf("got %v allocations for 8 statements, want none", got)
	}
}

func TestEveryRecordIsAnObjectInOrder(t *testing.T) {
	l := begin(t)
	l.work(t, "S1", 3)
	if err := l.Note("capture", "attached", "links", 4, `odd"`); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Note("late", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	var types []string
	for i, p := range payloads(t, l.opts.Dir) {
		var fields map[string]any
		if err := json.Unmarshal(p, &fields); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if fields["i"] != float64(i) {
			t.Errorf("got index %v, want %d", fields["i"], i)
		}
		types = append(types, fields["type"].(string))
	}
	got, want := strings.Join(types, " "), "start open request outcome request outcome request outcome close note stop"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
