package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"unicode/utf8"

	"agentd.dev/decoders"
)

const (
	// maxShown is how much of a value people are shown, in bytes, and
	// maxShownValues how many values.
	maxShown       = 1 << 10
	maxShownValues = 100
	// unseen stands for a value that people are not shown.
	unseen = "?"
)

// An exact is what the request asked about would do. It implements
// decoders.Binding. What it needs of the relay's buffer it has used once it was
// summed.
type exact struct {
	d      *decoder
	text   []byte
	portal *portal // nil of a Query
	rows   uint32  // the most that an Execute wants
	r      reading
	open   bool
	set    change            // what the session has set before
	stands [sha256.Size]byte // what was in force then
	summed bool
	sum    [sha256.Size]byte
}

// exactly returns the binding of a request that is asked about now, for which a
// slot was pushed; open as it was before. Nil if it cannot be told what it would
// do, or if the server discards it in any case.
func (d *decoder) exactly(text []byte, p *portal, r *reading, open bool) decoders.Binding {
	if !d.want.Bindings || text == nil || d.skipping || p != nil && !p.bound {
		return nil
	}
	d.client.exact = exact{d: d, text: text, portal: p, rows: d.running.rows, r: *r, open: open, set: d.settings.changed, stands: d.footing.standing()}
	return &d.client.exact
}

// opened reports whether a transaction of the client's is open, or something
// that ran since the last Sync.
func (d *decoder) opened() bool { return d.status != 'I' || d.ran > d.lastReady }

// unsure reports whether what the server has not answered yet decides what a
// request would do, or whether a transaction is open.
func (d *decoder) unsure() bool { return d.want.Bindings && !d.skipping && d.readyIsDue() }

// Open implements decoders.Binding.
func (e *exact) Open() bool { return e.open }

// Digest implements decoders.Binding.
func (e *exact) Digest() [sha256.Size]byte {
	if e.summed {
		return e.sum
	}
	d := e.d
	h := summer{sha256.New()}
	h.part("agentd: what a PostgreSQL request would do, 1")
	h.part(d.settings.sum(e.set))
	h.part(e.stands[:])
	h.part(d.exactText(e.text, &e.r))
	for _, text := range d.executed(&e.r) {
		h.part(text)
	}
	if p := e.portal; p != nil {
		h.change(p.statement.set)
		h.change(p.set)
		h.part(p.stands[:])
		h.part(p.statement.types)
		h.part(p.values)
		h.part(binary.BigEndian.AppendUint32(nil, e.rows))
	} else {
		h.part("query")
	}
	h.Sum(e.sum[:0])
	e.summed = true
	return e.sum
}

// exactText is what tells a text from all that may do something else: itself, if
// it can be read in several ways, or with characters of other encodings.
func (d *decoder) exactText(text []byte, r *reading) []byte {
	if r.facts != nil && !d.encoding.foreign {
		if exact, ok := d.analyzer.Exact([]byte{'t'}, text); ok {
			return exact
		}
	}
	return append([]byte{'='}, text...)
}

// executed are the texts that EXECUTE runs by the name of what the protocol has
// prepared. Of what SQL has prepared, settings know that something was.
func (d *decoder) executed(r *reading) (texts [][]byte) {
	if r.facts == nil {
		return nil
	}
	for _, n := range r.facts.Names {
		e := d.statements.find([]byte(n.Name))
		if n.Verb != "execute" || n.Name == "" || e == nil {
			continue
		}
		for _, st := range []*statement{e.now, e.next} {
			if st != nil {
				texts = append(texts, st.text, st.types)
			}
		}
	}
	return texts
}

// Parameters implements decoders.Binding.
func (e *exact) Parameters() []string {
	hidden := e.r.private
	var shown []string
	if e.portal != nil {
		shown = e.values(hidden)
	}
	if e.r.facts == nil {
		return shown
	}
	if slices.Contains(e.r.facts.Verbs, "execute") {
		texts := e.d.executed(&e.r)
		switch {
		case len(texts) == 0:
			shown = append(shown, "(what EXECUTE runs was prepared before, and is not shown)")
		case hidden:
			shown = append(shown, "(EXECUTE runs what was prepared before, which touches what is protected)")
		default:
			shown = append(shown, "(EXECUTE runs: "+brief(e.d.forPeople(texts[0]))+")")
		}
	}
	if slices.Contains(e.r.facts.Commands, "copy from") {
		shown = append(shown, "(rows that follow are not seen)")
	}
	return shown
}

// values are those of a Bind.
func (e *exact) values(hidden bool) (shown []string) {
	p := e.portal
	codes, rest, err := counted(p.values, 2)
	if err != nil || len(rest) < 2 {
		return nil
	}
	var f formats
	f.read(codes)
	n := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	for i := range n {
		if i == maxShownValues {
			return append(shown, "(and more)")
		}
		size := int(int32(binary.BigEndian.Uint32(rest)))
		value := rest[4 : 4+max(size, 0)]
		rest = rest[4+len(value):]
		switch {
		case hidden:
			shown = append(shown, unseen)
		case size < 0:
			shown = append(shown, "NULL")
		default:
			shown = append(shown, e.d.readable(value, f.at(i), p.statement.typeOf(i)))
		}
	}
	return shown
}

// readable is a value for people.
func (d *decoder) readable(value []byte, f format, oid uint32) string {
	if k := kindOf(oid); f == asBinary && !k.plain {
		text, ok := []byte(nil), false
		if k.read != nil {
			text, ok = k.read(nil, value)
		}
		if !ok {
			n := min(len(value), maxShown/2)
			return `\x` + hex.EncodeToString(value[:n]) + more(len(value)-n)
		}
		value = text
	}
	return brief(d.forPeople(value))
}

// forPeople is text as people may see it, in memory of its own if it differs: the
// event's own text may be where censorText puts it.
func (d *decoder) forPeople(text []byte) []byte {
	if d.search == nil {
		return text
	}
	return blot(nil, text, d.search.Finder.Find(nil, text), d.search)
}

// brief is the front of a text.
func brief(text []byte) string {
	n := min(len(text), maxShown)
	for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return string(text[:n]) + more(len(text)-n)
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return "..."
}

// typeOf returns the type of a parameter, 0 if it is not known.
func (s *statement) typeOf(i int) uint32 {
	for _, types := range [][]byte{s.described, s.types} {
		if 4*i+4 <= len(types) {
			if oid := binary.BigEndian.Uint32(types[4*i:]); oid != 0 {
				return oid
			}
		}
	}
	return 0
}

// keepValues keeps what a Bind says behind its names, so that it can be told
// what its portal would do. What is too long or wrong is not kept.
func (d *decoder) keepValues(p *portal, of []byte, m message, rest []byte) {
	var f formats
	if !d.want.Bindings || !m.whole() || d.kept+len(rest) > maxKept || f.bound(rest) != nil {
		return
	}
	p.values = append(p.values, rest...)
	p.bound, p.of, p.set, p.stands = true, d.own(of), d.settings.changed, d.footing.standing()
	d.kept += len(rest)
}

// parameterTypes handles a ParameterDescription, which says what a client that
// names no types goes by.
func (d *decoder) parameterTypes(s *slot, m message) (wait bool) {
	if !d.want.Bindings || s.statement == nil || m.size > headerLen+2+4*65535 {
		return false
	}
	if !m.whole() {
		return true
	}
	if types := m.body(); len(types) >= 2 {
		s.statement.described = append(s.statement.described[:0], types[2:]...)
	}
	return false
}

// A summer sums parts so that none can run into another.
type summer struct{ hash.Hash }

func (h summer) part(p any) {
	var b []byte
	switch p := p.(type) {
	case string:
		b = []byte(p)
	case []byte:
		b = p
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b)))) // never fails
	h.Write(b)
}

func (h summer) change(c change) {
	h.part(c.own)
	h.part(binary.BigEndian.AppendUint64(nil, c.number))
	h.part(c.sum[:])
}

// Waiting implements decoders.Waiter: a notice, which clients show or ignore, at
// any time.
func (d *decoder) Waiting(r decoders.Refusal) []byte {
	notice := complaint(nil, "NOTICE", successfulCompletion, r.Message(), r.Hint)
	notice[0] = 'N'
	return notice
}

// Moot implements decoders.Waiter: after an error, the server discards the rest
// of a pipeline.
func (d *decoder) Moot() bool {
	return d.skipping && d.client.event.Kind == decoders.Request && !d.queue.pending(d.asked)
}

// CancelKey implements decoders.Canceller.
func (d *decoder) CancelKey() []byte { return d.cancelKey }
