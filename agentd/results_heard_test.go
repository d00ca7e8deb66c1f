package agentd_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// A cell is one value as a client got it, nil for NULL.
type cell []byte

// is reports whether a value of the record is what the client got: the text, or
// what a binary form of it means.
func (c cell) is(recorded *string) bool {
	switch {
	case c == nil || recorded == nil:
		return c == nil && recorded == nil
	case *recorded == recorder.Withheld: // which rows those are is another test's
		return true
	case string(c) == *recorded, `\x`+hex.EncodeToString(c) == *recorded:
		return true
	case len(c) == 4:
		return strconv.Itoa(int(int32(binary.BigEndian.Uint32(c)))) == *recorded
	}
	return false
}

// rowsHeard are the rows that a client got, those of COPY among them, in order.
// Whole: they are all that it was sent.
func rowsHeard(h *dialogue.Heard) (rows [][]cell, whole bool) {
	var all []byte
	for _, a := range h.Answers { // which may end within a message
		all = append(all, a.Messages...)
	}
	rest := dialogue.Walk(all, func(kind byte, body []byte) {
		switch kind {
		case 'd':
			rows = append(rows, []cell{cell(strings.TrimSuffix(string(body), "\n"))})
		case 'D':
			row, body := []cell{}, body[2:]
			for len(body) > 0 {
				n := int(int32(binary.BigEndian.Uint32(body)))
				if body = body[4:]; n < 0 {
					row = append(row, nil)
					continue
				}
				row = append(row, append(cell{}, body[:n]...))
				body = body[n:]
			}
			rows = append(rows, row)
		}
	})
	whole = h.End == "" && len(rest) == 0
	return rows, whole
}

// unlike says where the rows of a record are not those that the client got, ""
// if they are.
func unlike(s *recorder.Transcript, h *dialogue.Heard) string {
	heard, whole := rowsHeard(h)
	n := 0
	for _, e := range s.Entries {
		var of int64
		for _, result := range e.Rows {
			if result.Cut != "" {
				return fmt.Sprintf("the rows of %d are cut: %s", e.Seq, result.Cut)
			}
			for _, row := range result.Rows {
				if n == len(heard) {
					if !whole {
						return ""
					}
					return fmt.Sprintf("the record has a row of %d that the client did not get: %s", e.Seq, shownRow(row))
				}
				got := heard[n]
				same := len(row) == len(got)
				for i := range row {
					same = same && got[i].is(row[i])
				}
				if !same {
					return fmt.Sprintf("the record has the row %s of %d where the client got %q", shownRow(row), e.Seq, got)
				}
				n++
				of++
			}
		}
		if e.Done != nil && e.Done.Code == "" && !e.Done.Own && of != e.Done.Rows && !strings.HasPrefix(e.Done.Tag, "COPY") {
			return fmt.Sprintf("the outcome of %d says %d rows, and %d are recorded", e.Seq, e.Done.Rows, of)
		}
	}
	if n < len(heard) {
		return fmt.Sprintf("the record does not have %q", heard[n:])
	}
	return ""
}

func shownRow(row []*string) string {
	var b strings.Builder
	for _, v := range row {
		if v == nil {
			b.WriteString("(NULL)")
		} else {
			fmt.Fprintf(&b, "(%s)", *v)
		}
	}
	return b.String()
}

// recordShowsNoMore fails the test if the record of results has a secret in a
// value that no client has got as it is.
func recordShowsNoMore(t *testing.T, a *lab.Agentd, trials []*trial) {
	t.Helper()
	got := map[string]bool{}
	for _, tr := range trials {
		rows, _ := rowsHeard(&tr.heard)
		for _, row := range rows {
			for _, c := range row {
				got[string(c)] = true
			}
		}
	}
	folder, err := recorder.OpenFolder(a.Log)
	if err != nil {
		t.Fatal(err)
	}
	values := 0
	for _, s := range summariesOf(t, a) {
		script, err := folder.Session(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range script.Entries {
			for _, v := range valuesOf(e) {
				values++
				if text := secretIn(v); text != "" && !got[v] {
					t.Errorf("the record shows %q, which is a secret, in %q: no client got that", text, v)
				}
			}
		}
	}
	if values == 0 {
		t.Error("the record shows no value")
	}
	t.Logf("%d values are recorded", values)
}

func valuesOf(e *recorder.Entry) (values []string) {
	for _, result := range e.Rows {
		for _, row := range result.Rows {
			for _, v := range row {
				if v != nil {
					values = append(values, *v)
				}
			}
		}
	}
	return values
}

// secretIn returns the secret that a value has in it, "" if it has none. Bytes in
// digits are looked into.
func secretIn(value string) string {
	if digits, ok := strings.CutPrefix(value, `\x`); ok {
		if b, err := hex.DecodeString(digits); err == nil {
			value += string(b)
		}
	}
	for _, s := range secrets {
		for _, text := range s.texts {
			if strings.Contains(strings.ToLower(value), strings.ToLower(text)) {
				return text
			}
		}
	}
	return ""
}
