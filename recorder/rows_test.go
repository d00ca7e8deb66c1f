package recorder

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"agentd.dev/decoders"
)

// transcribe returns the transcript of a session in which steps were shown.
func transcribe(t *testing.T, steps ...decoders.Shown) *Transcript {
	t.Helper()
	var turn Turn
	log := newLog(&turn, aSession("S"), nil)
	log.Asked(&turn, at, statement(1, "select"), allowed)
	for i := range steps {
		log.Shown(&turn, at, &steps[i])
	}
	var c chain
	c.seal(turn.buf)
	b := transcribing{id: "S", bySeq: map[uint64]*Entry{}}
	frames := turn.buf
	for len(frames) > 0 {
		n := int(frames[0]) | int(frames[1])<<8 | int(frames[2])<<16
		payload := frames[frameHead : frameHead+n]
		if !json.Valid(payload[1:]) {
			t.Fatalf("not JSON: %s", payload)
		}
		if err := b.add(payload); err != nil {
			t.Fatal(err)
		}
		frames = frames[frameHead+n:]
	}
	return b.Transcript
}

func plainRow(texts ...string) (row []decoders.Value) {
	for _, text := range texts {
		row = append(row, decoders.Value{Kind: decoders.Plain, Text: []byte(text)})
	}
	return row
}

func TestRowsComeBackAsTheyWereShown(t *testing.T) {
	values := append(plainRow("1", "grüße \"\\\n\x01"), plainRow("2", "latin-1 gr\xfc\xdfe")...)
	values = append(values, decoders.Value{Kind: decoders.Null}, decoders.Value{Kind: decoders.Raw, Text: []byte("\x00\xff")})
	s := transcribe(t,
		decoders.Shown{Seq: 1, Columns: [][]byte{[]byte("id"), []byte("note")}, Values: values, Ends: []int{2, 4, 6}},
		decoders.Shown{Seq: 1, From: 3, Values: plainRow("4", "", "5"), Ends: []int{2, 3}, Cut: decoders.AtValue},
		decoders.Shown{Seq: 1, Result: 1, Columns: [][]byte{[]byte("x")}, Values: plainRow("y"), Ends: []int{1}, Withheld: 1, Lines: true},
	)
	got, err := json.Marshal(s.Entries[0].Rows)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"columns":["id","note"],"rows":[["1","grüße \"\\\n\u0001"],["2","\\x6c6174696e2d31206772fcdf65"],[null,"\\x00ff"],["4",""],["5"]],` +
		`"raw":[[1,1],[2,1]],"cut":"value"},{"result":1,"columns":["x"],"rows":[["y"]],"lines":true,"withheld":1}]`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A record is never longer than what is read back, whatever is in the rows.
func TestRowsThatAreTooMuchForOneRecordAreCut(t *testing.T) {
	value := decoders.Value{Kind: decoders.Plain, Text: bytes.Repeat([]byte{1}, 100<<10)}
	shown := decoders.Shown{Seq: 1}
	for i := range 100 {
		shown.Values = append(shown.Values, value)
		shown.Ends = append(shown.Ends, i+1)
	}
	rows := transcribe(t, shown).Entries[0].Rows[0]
	if n := len(rows.Rows); n == 0 || n == 100 || rows.Cut != "limit" || *rows.Rows[0][0] != strings.Repeat("\x01", 100<<10) {
		t.Errorf("got %d rows, cut %q, want fewer than 100, and limit", n, rows.Cut)
	}
}
