package recorder

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"agentd.dev/decoders"
)

const (
	maxFacts = 4 << 10 // bytes of a record's facts, and of its exposures
	maxKnown = 256     // facts that a session's later records can refer to
)

// A teller writes what verdicts depend on, so that rules can be tried on a
// record without decoding anything again. Events that share a Facts value share
// the record of it: later ones name the seq of the one that has it.
//
// What finds no room is named in "cut": it is not known to readers, where what
// is merely absent was not known to the rules.
type teller struct {
	fields []decoders.Field // of the session's protocol
	known  map[decoders.Facts]told
	wants  []byte // for the first record of what is asked, then nil
}

// Told is what the record with that seq has of a Facts value.
type told struct {
	seq       uint64
	exposures []decoders.Exposure
}

// facts appends the facts of ev, or where they are.
func (k *teller) facts(t *Turn, ev *decoders.Event) {
	if ev.Kind == decoders.Login || ev.Facts == nil {
		k.bare(t, ev)
		return
	}
	if before, ok := k.known[ev.Facts]; ok && slices.EqualFunc(before.exposures, ev.Exposures, sameExposure) {
		if before.seq != ev.Ref { // otherwise they are its own, as is its text
			t.int("like", int64(before.seq))
		}
		return
	}
	k.write(t, ev, func(string, any) bool { return false })
	if ev.Kind == decoders.Columns {
		return // its seq is its request's
	}
	if k.known == nil || len(k.known) >= maxKnown {
		k.known = make(map[decoders.Facts]told)
	}
	k.known[ev.Facts] = told{ev.Seq, cloneExposures(ev.Exposures)}
}

// bare appends the facts of what shares none.
func (k *teller) bare(t *Turn, ev *decoders.Event) {
	switch {
	case ev.Facts != nil:
		k.write(t, ev, ownKey(ev.Facts))
	case ev.Ref != 0: // or they would be taken for those of Ref
		t.key("facts", "")
		t.buf = append(t.buf, "{}"...)
		fallthrough
	default:
		if len(ev.Exposures) > 0 && !t.exposures(ev.Exposures) {
			t.buf = append(t.buf, `,"cut":["exposures"]`...)
		}
	}
}

// write appends the facts of ev but for those that are to be skipped. Long
// strings come last, so that they push out nothing but each other.
func (k *teller) write(t *Turn, ev *decoders.Event, skip func(name string, value any) bool) {
	var cut []string
	t.key("facts", "")
	start := len(t.buf)
	t.buf = append(t.buf, '{')
	for _, strings := range [...]bool{false, true} {
		for i := range k.fields {
			f := &k.fields[i]
			if f.Kinds&ev.Kind == 0 || (f.Type == decoders.String) != strings {
				continue
			}
			value := ev.Facts.Field(f.Name)
			if value == nil || skip(f.Name, value) {
				continue
			}
			if !t.fact(f.Name, value, start+1, start+maxFacts) {
				cut = append(cut, f.Name)
			}
		}
	}
	t.buf = append(t.buf, '}')
	if len(ev.Exposures) > 0 && !t.exposures(ev.Exposures) {
		cut = append(cut, "exposures")
	}
	if len(cut) > 0 {
		t.key("cut", "")
		t.strings(cut)
	}
}

// fact appends one field of an object that begins at first, unless that would go
// beyond most, or it cannot be written exactly.
func (t *Turn) fact(name string, value any, first, most int) bool {
	before := len(t.buf)
	if before > first {
		t.buf = append(t.buf, ',')
	}
	t.buf = append(t.buf, '"')
	t.buf = append(t.buf, name...)
	t.buf = append(t.buf, `":`...)
	whole := true
	switch v := value.(type) {
	case string:
		whole = len(v) <= maxFacts && t.quoted(v)
	case []string:
		whole = len(v) <= maxFacts && t.strings(v)
	case int64:
		t.buf = strconv.AppendInt(t.buf, v, 10)
	case bool:
		t.buf = strconv.AppendBool(t.buf, v)
	default:
		whole = false
	}
	if !whole || len(t.buf) > most {
		t.buf = t.buf[:before]
		return false
	}
	return true
}

// quoted appends a string, and reports whether it was UTF-8.
func (t *Turn) quoted(s string) (valid bool) {
	t.buf = append(t.buf, '"')
	if valid = true; plain(s) {
		t.buf = append(t.buf, s...)
	} else {
		valid = utf8.ValidString(s)
		t.buf, _ = appendEscaped(t.buf, []byte(s))
	}
	t.buf = append(t.buf, '"')
	return valid
}

// strings appends a list, and reports whether all of it was UTF-8.
func (t *Turn) strings(list []string) (valid bool) {
	valid = true
	t.buf = append(t.buf, '[')
	for i, s := range list {
		if i > 0 {
			t.buf = append(t.buf, ',')
		}
		valid = t.quoted(s) && valid
	}
	t.buf = append(t.buf, ']')
	return valid
}

// risks are what records call kinds of exposures.
var risks = [...]string{decoders.Carries: "carries", decoders.Decides: "decides", decoders.Calls: "calls"}

// exposures appends the ways in which a request could show protected values. It
// is false, and nothing appended, if they find no room.
func (t *Turn) exposures(all []decoders.Exposure) bool {
	before := len(t.buf)
	t.key("exposures", "")
	t.buf = append(t.buf, '[')
	for i := range all {
		e := &all[i]
		if i > 0 {
			t.buf = append(t.buf, ',')
		}
		t.buf = append(t.buf, `{"risk":"`...)
		t.buf = append(t.buf, risks[e.Risk]...)
		t.buf = append(t.buf, '"')
		t.str("what", e.What)
		t.str("function", e.Function)
		t.key("columns", "")
		t.buf = append(t.buf, '[')
		for j := range e.Columns {
			if j > 0 {
				t.buf = append(t.buf, ',')
			}
			t.strings([]string{e.Columns[j].Schema, e.Columns[j].Table, e.Columns[j].Name})
		}
		t.buf = append(t.buf, "]}"...)
		if len(t.buf)-before > maxFacts {
			t.buf = t.buf[:before]
			return false
		}
	}
	t.buf = append(t.buf, ']')
	return true
}

func sameExposure(a, b decoders.Exposure) bool {
	return a.Risk == b.Risk && a.What == b.What && a.Function == b.Function && slices.Equal(a.Columns, b.Columns)
}

func cloneExposures(all []decoders.Exposure) []decoders.Exposure {
	kept := slices.Clone(all)
	for i := range kept {
		kept[i].Columns = slices.Clone(kept[i].Columns)
	}
	return kept
}

// loosens appends what a request would do to the limits of its session.
func loosens(t *Turn, l *decoders.Loosens) {
	t.str("loosens_time", l.Time)
	t.str("loosens_writes", l.Writes)
}

// claims appends what the client says of why it asks.
func claims(t *Turn, ev *decoders.Event) {
	if len(ev.Claims) == 0 || ev.Ref != 0 { // of a Ref, the record of that has them
		return
	}
	claims, all := ev.Told()
	t.object("claims", func(attr func(key, value string)) {
		for _, c := range claims {
			attr(c.Key, c.Value)
		}
	})
	t.flag("claims_cut", !all)
}

// ownKey skips what a login's record says in keys of its own, see login.
func ownKey(facts decoders.Facts) func(name string, value any) bool {
	credential, _ := facts.Field("login.credential").(string)
	return func(name string, value any) bool {
		text, _ := value.(string)
		if text == "" || len(text) > maxField || !utf8.ValidString(text) {
			return false
		}
		switch name {
		case "login.user", "login.database", "login.application":
			return true
		case "login.credential", "login.as":
			return credential != ""
		}
		return false
	}
}

// Wants says what the session's decoder looks for, which its first record of
// what is asked then tells: what it did not look for, it did not see.
func (l *Log) Wants(w *decoders.Want) {
	var t Turn
	if len(w.Fields) > 0 {
		t.key("learned", "")
		t.strings(w.Fields)
	}
	if len(w.Columns) > 0 {
		t.key("watched", "")
		t.buf = append(t.buf, '[')
		for i, c := range w.Columns {
			if i > 0 {
				t.buf = append(t.buf, ',')
			}
			t.strings([]string{c.Schema, c.Table, c.Column})
		}
		t.buf = append(t.buf, ']')
	}
	if len(w.Searches) > 0 {
		t.key("searches", "")
		t.strings(w.Searches)
	}
	t.flag("bounds", w.Bounds)
	if l.tell.wants = t.buf; len(t.buf) > maxText {
		l.tell.wants = []byte(`,"unsaid":true`)
	}
}
