package walk

import "agentd.dev/decoders/sql"

// refs are the columns in s.
func (w *walker) refs(s set) []sql.Ref {
	var list []sql.Ref
	w.each(s, func(a atom) {
		if a.kind == aRef && w.room() {
			list = append(list, a.ref)
		}
	})
	return list
}

// output is v for others to read.
func (w *walker) output(v value) sql.Output {
	o := sql.Output{Plain: v.plain, Counts: v.counts}
	w.each(v.of, func(a atom) {
		if !w.room() {
			return
		}
		switch a.kind {
		case aRef:
			o.Refs = append(o.Refs, a.ref)
		case aFunction:
			o.Functions = append(o.Functions, a.function)
		case anUnclear:
			o.Unclear = true
		}
	})
	return o
}

// room says whether the result may hold one more.
func (w *walker) room() bool {
	w.left--
	if w.left < 0 {
		w.fail("too complex: too many columns")
	}
	return w.left >= 0
}
