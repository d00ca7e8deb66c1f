package recorder

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"agentd.dev/decoders"
)

// Rows are rows of a result as the client was sent them: after masks.
type Rows struct {
	Result  int      `json:"result,omitempty"`  // which of the request's results, from 0
	Columns []string `json:"columns,omitempty"` // their names; none: nobody named them
	From    int64    `json:"from,omitempty"`    // which row of the result the first is, from 0
	// Rows hold the values in text form, nil for NULL. The last may have fewer
	// than Columns, if it was cut.
	Rows [][]*string `json:"rows"`
	// Raw are the places, row and column, of values of which the form is not
	// known: those are \x and hexadecimal digits.
	Raw [][2]int `json:"raw,omitempty"`
	// Lines: each row is one line, as COPY has written it.
	Lines    bool `json:"lines,omitempty"`
	Withheld int  `json:"withheld,omitempty"` // secrets, in the place of which there is Withheld
	// Cut is why the result went on behind these rows: limit, value (and of the
	// last value here only the front is), or form (it was not understood).
	Cut string `json:"cut,omitempty"`
}

// Withheld stands in records for values that are secrets.
const Withheld = "[withheld]"

// maxRows is how much of a record may be rows: what was shown at once is more
// only if agentd is wrong.
const maxRows = maxFrame - 64<<10

// Shown records what the client is sent of a result. Like an outcome it may be
// committed later than it has effect: see docs/decisions/0030-results.md.
func (l *Log) Shown(t *Turn, now time.Time, s *decoders.Shown) {
	l.open(t, "rows", now)
	t.int("seq", int64(s.Seq))
	t.int("result", int64(s.Result))
	if len(s.Columns) > 0 {
		t.key("columns", "")
		for i, name := range s.Columns {
			t.buf = append(t.buf, "[,"[min(i, 1)], '"')
			t.buf, _ = appendEscaped(t.buf, name)
			t.buf = append(t.buf, '"')
		}
		t.buf = append(t.buf, ']')
	}
	t.int("from", s.From)
	cut := t.rows(s)
	t.flag("lines", s.Lines)
	t.int("withheld", int64(s.Withheld))
	t.str("cut", cut.String())
	t.close()
}

// rows appends the rows of s and the places of what is raw in them. It returns
// why they end.
func (t *Turn) rows(s *decoders.Shown) decoders.Cut {
	cut, from := s.Cut, len(t.buf)
	t.raw = t.raw[:0]
	t.key("rows", "")
	t.buf = append(t.buf, '[')
	at := 0
	for row, end := range s.Ends {
		if len(t.buf)-from > maxRows/8 { // an escaped byte takes six, and a value is no longer than what is wanted of all
			cut = decoders.AtLimit
			break
		}
		if row > 0 {
			t.buf = append(t.buf, ',')
		}
		t.buf = append(t.buf, '[')
		for column, v := range s.Values[at:end] {
			if column > 0 {
				t.buf = append(t.buf, ',')
			}
			if t.value(v) {
				t.raw = append(t.raw, [2]int{row, column})
			}
		}
		t.buf = append(t.buf, ']')
		at = end
	}
	t.buf = append(t.buf, ']')
	if len(t.raw) > 0 {
		t.key("raw", "")
		for i, place := range t.raw {
			t.buf = append(t.buf, "[,"[min(i, 1)], '[')
			t.buf = strconv.AppendInt(t.buf, int64(place[0]), 10)
			t.buf = append(t.buf, ',')
			t.buf = strconv.AppendInt(t.buf, int64(place[1]), 10)
			t.buf = append(t.buf, ']')
		}
		t.buf = append(t.buf, ']')
	}
	return cut
}

// value appends one value, and reports whether it is raw: texts that are not
// UTF-8 are.
func (t *Turn) value(v decoders.Value) (raw bool) {
	from := len(t.buf)
	switch v.Kind {
	case decoders.Null:
		t.buf = append(t.buf, "null"...)
		return false
	case decoders.Plain:
		var valid bool
		t.buf = append(t.buf, '"')
		if t.buf, valid = appendEscaped(t.buf, v.Text); valid {
			t.buf = append(t.buf, '"')
			return false
		}
		t.buf = t.buf[:from]
	}
	t.buf = append(t.buf, `"\\x`...)
	t.buf = hex.AppendEncode(t.buf, v.Text)
	t.buf = append(t.buf, '"')
	return true
}

// parseRows reads a record of rows, of which columns are other things than
// those of all other records.
func parseRows(payload []byte) (*record, error) {
	r := struct {
		Index   int64     `json:"i"`
		Type    string    `json:"type"`
		Time    time.Time `json:"time"`
		Session string    `json:"session"`
		Seq     uint64    `json:"seq"`
		Rows
	}{}
	if err := json.Unmarshal(payload[1:], &r); err != nil {
		return nil, fmt.Errorf("a record that is not JSON: %w", err)
	}
	return &record{Index: r.Index, Type: r.Type, Time: r.Time, Session: r.Session, Seq: r.Seq, Shown: &r.Rows}, nil
}

// join adds rows to those of the results before: to the last, if they go on
// where that ends.
func join(all []*Rows, more *Rows) []*Rows {
	if len(all) > 0 {
		last := all[len(all)-1]
		if n := len(last.Rows); last.Result == more.Result && last.Cut == "" && last.From+int64(n) == more.From && len(more.Columns) == 0 {
			last.Rows = append(last.Rows, more.Rows...)
			for _, place := range more.Raw {
				last.Raw = append(last.Raw, [2]int{n + place[0], place[1]})
			}
			last.Withheld += more.Withheld
			last.Cut = more.Cut
			return all
		}
	}
	return append(all, more)
}
