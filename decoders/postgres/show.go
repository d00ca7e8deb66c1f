package postgres

import (
	"bytes"
	"encoding/binary"

	"agentd.dev/decoders"
)

// A show reads rows for the record, out of what the client is sent: a step is
// looked at once it is settled, so that what is not forwarded, or forwarded as
// something else, cannot come to be recorded as it was.
//
// It reads so many bytes of the results of one request, and then nothing more.
// What is wanted of a row must have come before the row may pass.
type show struct {
	limit int  // 0: nothing is shown
	due   bool // the step that is being made may have something to show

	// Of the request that is being answered:
	seq     uint64
	secret  bool // its text tells that it may show a password or key
	simple  bool // its results are described as they come
	header  *header
	formats *formats
	left    int // bytes
	begun   bool
	named   bool // the columns of the result were told
	over    bool // why nothing more is shown was told
	lines   bool // its result is copied out
	binary  bool // in the binary form
	from    int64

	own   header // of the results of a simple query
	arena []byte // of what is printed
	shown decoders.Shown
}

// unknownFormats are those of a result of a portal that is not known.
var unknownFormats = formats{all: unknownFormat}

// begin makes s the request that is being answered. False: what was walked over
// is of another, and must pass first.
func (w *show) begin(s *slot, first bool) bool {
	if w.seq == s.seq {
		return true
	}
	if w.due && !first {
		return false
	}
	w.seq, w.simple, w.secret = s.seq, s.kind == query, s.reading.secret
	w.header, w.formats = nil, &unknownFormats
	if p := s.portal; p != nil {
		w.formats = &p.formats
		if w.header = p.header; w.header == nil {
			w.header = p.statement.header
		}
	}
	w.left, w.begun, w.named, w.over, w.lines, w.from = w.limit, false, false, false, false, 0
	w.shown.Result = -1
	return true
}

// copying reports whether what is copied is rows of a result of s: not what a
// replication stream brings.
func (w *show) copying(s *slot) bool { return w.seq == s.seq && (w.lines || w.due) }

// wants is how many bytes of the message m are wanted before it may pass.
func (w *show) wants(m message) int { return min(m.size, headerLen+6+w.left) }

// described notes that a result of s begins, of which all of the message m is
// wanted. If not done, m is as any other.
func (w *show) described(s *slot, m message) (t turn, need int, done bool) {
	switch {
	case w.due && !m.first: // one result in a step
		return flush, 0, true
	case m.size <= maxRowDescription && !m.whole():
		return alone, m.size, true
	case !w.begin(s, m.first):
		return flush, 0, true
	}
	w.due = true
	return walk, 0, false
}

// row notes that rows of s come. If not done, m is as any other.
func (w *show) row(s *slot, m message) (t turn, need int, done bool) {
	switch {
	case !w.begin(s, m.first):
		return flush, 0, true
	case w.over:
		return walk, 0, false
	case len(m.buf) < w.wants(m):
		return alone, w.wants(m), true
	}
	w.due = true
	return walk, 0, false
}

// look reads what step sends the client: its Out, and what it passes of buf.
func (w *show) look(step *decoders.Step, buf []byte) *decoders.Shown {
	w.due = false
	w.arena = w.arena[:0]
	sh := &w.shown
	*sh = decoders.Shown{Seq: w.seq, Result: sh.Result, Values: sh.Values[:0], Ends: sh.Ends[:0], From: w.from, Lines: w.lines && !w.binary}
	w.messages(step.Out)
	if step.Op == decoders.Pass || step.Op == decoders.Ask {
		w.messages(buf[:min(step.N, len(buf))])
	}
	if sh.Empty() || step.Op == decoders.Ask {
		return nil
	}
	if !w.named && w.header != nil && !w.lines {
		sh.Columns = w.header.names
	}
	w.named = true
	return sh
}

// messages reads whole messages, the last of which may go on behind b.
func (w *show) messages(b []byte) {
	for len(b) >= headerLen && !w.over {
		typ, size, err := frame(b)
		if err != nil {
			return // the client is sent it all the same
		}
		body := b[headerLen:min(size, len(b))]
		switch typ {
		case 'T':
			if w.simple {
				w.result(false)
				w.own.learn(body)
				w.header, w.formats = &w.own, &w.own.formats
			}
		case 'H':
			w.result(true)
			w.binary = len(body) > 0 && body[0] != 0
			w.shown.Lines = !w.binary
		case 'D':
			w.dataRow(body, size-headerLen)
		case 'd':
			if w.lines {
				w.line(body, size-headerLen)
			}
		case 'c':
			w.lines = false
		}
		b = b[min(size, len(b)):]
	}
}

// result begins another result.
func (w *show) result(lines bool) {
	w.shown.Result++
	w.lines, w.named, w.from = lines, false, 0
	w.shown.From = 0
}

// starts notes that a row comes, of a result that may not have been described.
func (w *show) starts() {
	w.shown.Result = max(w.shown.Result, 0)
	w.from++
}

// ends ends a row, and a list that is cut.
func (w *show) ends(cut decoders.Cut) {
	sh := &w.shown
	before := 0
	if n := len(sh.Ends); n > 0 {
		before = sh.Ends[n-1]
	}
	if len(sh.Values) > before || cut == decoders.Whole {
		sh.Ends = append(sh.Ends, len(sh.Values))
	}
	sh.Cut, w.over = cut, cut != decoders.Whole
}

// dataRow shows a row, of which body is the front if it is longer than that.
func (w *show) dataRow(body []byte, size int) {
	w.starts()
	body = body[:min(len(body), 6+w.left)] // as much as is wanted, however much has come
	sh := &w.shown
	values, left := len(sh.Values), w.left-2
	if len(body) < 2 || left < 0 {
		w.ends(cutAt(len(body) < 2 && size < 2))
		return
	}
	count := int(binary.BigEndian.Uint16(body))
	rest := body[2:]
	for i := range count {
		if len(rest) < 4 {
			w.drop(values, cutAt(len(body) == size))
			return
		}
		n := int(int32(binary.BigEndian.Uint32(rest)))
		rest = rest[4:]
		if n == -1 {
			left -= 4
			sh.Values = append(sh.Values, decoders.Value{})
			continue
		}
		if n < 0 || n > len(rest) && len(body) == size {
			w.drop(values, decoders.Unread)
			return
		}
		v := w.value(i, count, rest[:min(n, len(rest))], n)
		if left -= len(v.Text) + 4; left < 0 || n > len(rest) {
			w.short(values, v, left)
			return
		}
		sh.Values = append(sh.Values, v)
		rest = rest[n:]
	}
	if left < 0 {
		w.drop(values, decoders.AtLimit)
		return
	}
	w.begun, w.left = true, left
	w.ends(decoders.Whole)
}

// cutAt is why a row ends that is not whole.
func cutAt(malformed bool) decoders.Cut {
	if malformed {
		return decoders.Unread
	}
	return decoders.AtLimit
}

// drop leaves out a row that begins at that value.
func (w *show) drop(values int, cut decoders.Cut) {
	w.shown.Values = w.shown.Values[:values]
	w.ends(cut)
}

// short leaves out a row for which there is no room, unless it is the first of
// its request: of that it keeps the front, up to and within the value v that
// is too long. Left is less than nothing by what is missing.
func (w *show) short(values int, v decoders.Value, left int) {
	sh := &w.shown
	if w.begun {
		w.drop(values, decoders.AtLimit)
		return
	}
	w.begun = true
	if v.Kind != decoders.Plain || len(v.Text)+left <= 0 && left < 0 {
		w.ends(decoders.AtLimit)
		return
	}
	v.Text = characters(v.Text[:min(len(v.Text), len(v.Text)+left)])
	sh.Values = append(sh.Values, v)
	w.ends(decoders.AtValue)
}

// characters is text without what of a character is at its end.
func characters(text []byte) []byte {
	for n := 1; n <= 3 && n <= len(text); n++ {
		switch c := text[len(text)-n]; {
		case c&0xc0 == 0x80:
			continue
		case c >= 0xf0 && n < 4, c >= 0xe0 && n < 3, c >= 0xc0 && n < 2:
			return text[:len(text)-n]
		}
		break
	}
	return text
}

// value reads a value of a column, of count. It has n bytes, which may be more
// than there are here.
func (w *show) value(column, count int, b []byte, n int) decoders.Value {
	f := w.formats.at(column)
	known := w.header != nil && len(w.header.oids) == count
	switch {
	case known && w.header.secret[column], w.secret && (!known || w.header.loose[column]):
		w.shown.Withheld++
		return withheld
	case f == asText:
		if hasVerifier(b) {
			w.shown.Withheld++
			return withheld
		}
		return decoders.Value{Kind: decoders.Plain, Text: b}
	case f == asBinary && known && (n == len(b) || kindOf(w.header.oids[column]).plain):
		from := len(w.arena)
		var ok bool
		if w.arena, ok = printValue(w.arena, w.header.oids[column], b); ok {
			text := w.arena[from:len(w.arena):len(w.arena)]
			if hasVerifier(text) {
				w.shown.Withheld++
				return withheld
			}
			return decoders.Value{Kind: decoders.Plain, Text: text}
		}
		w.arena = w.arena[:from]
	}
	if hasVerifier(b) {
		w.shown.Withheld++
		return withheld
	}
	return decoders.Value{Kind: decoders.Raw, Text: b}
}

// line shows what is copied out with one message, which is a row.
func (w *show) line(body []byte, size int) {
	w.starts()
	body = body[:min(len(body), 6+w.left)]
	v := decoders.Value{Kind: decoders.Raw, Text: body}
	if !w.binary {
		v = decoders.Value{Kind: decoders.Plain, Text: bytes.TrimSuffix(body, []byte{'\n'})}
	}
	if w.secret || hasVerifier(v.Text) {
		w.shown.Withheld++
		v = withheld
	}
	values, left := len(w.shown.Values), w.left-len(v.Text)-6
	if left < 0 || len(body) < size {
		w.short(values, v, left)
		return
	}
	w.shown.Values = append(w.shown.Values, v)
	w.begun, w.left = true, left
	w.ends(decoders.Whole)
}
