package postgres

import (
	"fmt"

	"agentd.dev/decoders"
)

// blotted stands for what was found where there is no NULL.
const blotted = "[masked]"

// censorText returns text with what the session is searched for replaced: text
// itself if there is nothing. It is valid until the next call.
func (d *decoder) censorText(text []byte) []byte {
	if d.search == nil {
		return text
	}
	d.client.spans = d.search.Finder.Find(d.client.spans[:0], text)
	if len(d.client.spans) == 0 {
		return text
	}
	d.client.censored = blot(d.client.censored[:0], text, d.client.spans, d.search)
	return d.client.censored
}

// blot appends text with spans replaced, by blotted if nothing else does. No
// replacement has a zero byte, which would end a text.
func blot(dst, text []byte, spans []decoders.Span, search *decoders.Search) []byte {
	at := 0
	for _, span := range spans {
		dst = append(dst, text[at:span.From]...)
		from := len(dst)
		ok := false
		if way := search.Kinds[span.Kind].Way; way != nil {
			dst, ok = way.Append(dst, text[span.From:span.To])
		}
		if !ok {
			dst = append(dst[:from], blotted...)
		}
		at = span.To
	}
	return append(dst, text[at:]...)
}

// blotServer is blot for a text of the server; it reports whether there was
// anything to replace, which it counts for s, if that is not nil.
func (d *decoder) blotServer(dst, text []byte, s *slot) ([]byte, bool) {
	spans := d.search.Finder.Find(d.room0.spans[:0], text)
	d.room0.spans = spans
	if len(spans) == 0 {
		return append(dst, text...), false
	}
	if s != nil {
		s.countSpans(spans, d.search)
	}
	return blot(dst, text, spans, d.search), true
}

// spoken are the fields of errors and notices that may hold values: message,
// detail, hint, where, and the text of a statement of the server's own.
var spoken = [256]bool{'M': true, 'D': true, 'H': true, 'W': true, 'q': true}

// censorFields reports whether there is something to replace in the texts of
// an error or notice. The message without it is then in d.server.censored. One
// that is too long to be searched loses all of its texts.
func (d *decoder) censorFields(s *slot, m message) bool {
	body := m.body()
	if m.size > maxError {
		f := parseFailure(body)
		d.server.censored = complaint(d.server.censored[:0], string(f.severity), string(f.code), "(agentd does not show this text: it is too long to be searched)", "")
		d.server.censored[0] = m.typ
		return true
	}
	if !m.first {
		s = nil // the message comes again, and is counted then
	}
	found := false
	out := begin(d.server.censored[:0], m.typ)
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cstring(body[1:])
		if !ok {
			break
		}
		out = append(out, body[0])
		if spoken[body[0]] {
			var hit bool
			out, hit = d.blotServer(out, value, s)
			found = found || hit
		} else {
			out = append(out, value...)
		}
		out = append(out, 0)
		body = rest
	}
	d.server.censored = finish(append(out, 0), 0)
	return found
}

// replaced is the turn of a message that d.server.censored stands for.
func (d *decoder) replaced(m message) (turn, error) {
	if !m.first {
		return flush, nil
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.censored}
	return alone, nil
}

// notification handles NotificationResponse, of which the payload is whatever
// some session said.
func (d *decoder) notification(m message) (turn, error) {
	if d.search == nil {
		return walk, nil
	}
	if m.size > headerLen+4+maxSmall {
		return walk, fmt.Errorf("notification of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	if m.size < headerLen+4 {
		return walk, fmt.Errorf("notification of %d bytes", m.size)
	}
	channel, rest, ok := cstring(m.body()[4:])
	payload, _, ok2 := cstring(rest)
	if !ok || !ok2 {
		return walk, fmt.Errorf("notification without end")
	}
	out := append(append(begin(d.server.censored[:0], m.typ), m.body()[:4]...), channel...)
	out, hit := d.blotServer(append(out, 0), payload, nil)
	d.server.censored = finish(append(out, 0), 0)
	if !hit {
		return walk, nil
	}
	return d.replaced(m)
}

// returned handles FunctionCallResponse.
func (d *decoder) returned(s *slot, m message) (turn, error) {
	if err := d.expect(s, m, function); err != nil {
		return walk, err
	}
	if d.search == nil {
		s.gave(m.size)
		return walk, nil
	}
	if m.size > maxRow {
		return walk, fmt.Errorf("a function's result of %d bytes, which is more than the %d that are looked at", m.size, maxRow)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	value, _, err := nextValue(m.body(), 0, 1)
	if err != nil {
		return walk, err
	}
	if d.room0.find(&anyKind, asBinary, value, d.search); len(d.room0.spans) == 0 {
		s.gave(m.size)
		return walk, nil
	}
	if !m.first {
		return flush, nil
	}
	s.gave(m.size)
	s.countSpans(d.room0.spans, d.search)
	d.server.censored = finish(append(begin(d.server.censored[:0], m.typ), null...), 0)
	return d.replaced(m)
}

// gave notes that a function's value has come, in a message of that size.
func (s *slot) gave(size int) {
	s.done = true
	s.result.Rows, s.result.Columns, s.result.Bytes = 1, 1, int64(size)
}
