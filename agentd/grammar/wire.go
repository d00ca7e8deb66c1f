package grammar

import (
	"encoding/binary"
	"errors"

	"agentd.dev/decoders/sql"
)

// A wire is a meaning on its way between worker and agentd. Its methods go over
// the parts of a meaning in one order, and either write each to out or read
// it from in: what one of the two knows, so does the other.
//
// What is read may come from a worker that was taken over: every length is
// checked against what is left.
type wire struct {
	reading bool
	in      string
	out     []byte
	broken  bool // in is no meaning
}

var errBroken = errors.New("it answers with something that is no meaning")

// appendMeaning appends m to dst, in the form that readMeaning reads.
func appendMeaning(dst []byte, m *sql.Meaning) []byte {
	w := wire{out: dst}
	w.meaning(m)
	return w.out
}

func readMeaning(body []byte) (*sql.Meaning, error) {
	w := wire{reading: true, in: string(body)}
	m := new(sql.Meaning)
	w.meaning(m)
	if w.broken || w.in != "" {
		return nil, errBroken
	}
	return m, nil
}

func (w *wire) meaning(m *sql.Meaning) {
	list(w, &m.Statements, (*wire).statement)
	w.str(&m.Unclear)
	w.flags(&m.Syntax)
}

func (w *wire) statement(s *sql.Statement) {
	w.str(&s.Kind)
	list(w, &s.Verbs, (*wire).str)
	list(w, &s.Tables, (*wire).table)
	list(w, &s.Columns, (*wire).ref)
	list(w, &s.Predicates, (*wire).ref)
	list(w, &s.Partial, (*wire).ref)
	list(w, &s.Attributes, (*wire).ref)
	list(w, &s.Outputs, (*wire).output)
	w.output(&s.All)
	list(w, &s.First, (*wire).output)
	list(w, &s.Last, (*wire).output)
	list(w, &s.Moves, (*wire).move)
	list(w, &s.Writes, (*wire).write)
	list(w, &s.Functions, (*wire).qualified)
	list(w, &s.Types, (*wire).qualified)
	list(w, &s.Operators, (*wire).qualified)
	w.flags(&s.Open, &s.Opaque, &s.HasWhere, &s.DDL, &s.Utility)
	w.integer(&s.Since)
	w.str(&s.Copy)
	list(w, &s.Sets, (*wire).str)
}

func (w *wire) table(t *sql.Table) {
	w.str(&t.Schema)
	w.str(&t.Table)
	w.flags(&t.Write)
}

func (w *wire) ref(r *sql.Ref) {
	w.str(&r.Schema)
	w.str(&r.Table)
	w.str(&r.Column)
}

func (w *wire) output(o *sql.Output) {
	w.flags(&o.Plain, &o.Counts, &o.Unclear)
	list(w, &o.Refs, (*wire).ref)
	list(w, &o.Functions, (*wire).qualified)
}

func (w *wire) move(m *sql.Move) {
	w.ref(&m.To)
	w.output(&m.From)
}

func (w *wire) write(x *sql.Write) {
	w.str(&x.Verb)
	w.ref(&x.To)
}

func (w *wire) qualified(q *sql.Qualified) {
	w.str(&q.Schema)
	w.str(&q.Name)
}

// list passes over a list and what is in it.
func list[T any](w *wire, items *[]T, each func(*wire, *T)) {
	n := w.number(len(*items))
	if !w.reading {
		for i := range *items {
			each(w, &(*items)[i])
		}
		return
	}
	for range n {
		if w.broken {
			return
		}
		var item T
		each(w, &item)
		*items = append(*items, item)
	}
}

func (w *wire) str(s *string) {
	n := w.number(len(*s))
	if !w.reading {
		w.out = append(w.out, *s...)
		return
	}
	*s, w.in = w.in[:n], w.in[n:]
}

// flags passes over eight booleans at most.
func (w *wire) flags(flags ...*bool) {
	var bits uint64
	for i, f := range flags {
		if *f {
			bits |= 1 << i
		}
	}
	if !w.reading {
		w.out = append(w.out, byte(bits))
		return
	}
	if w.in == "" {
		w.broken = true
		return
	}
	for i, f := range flags {
		*f = w.in[0]&(1<<i) != 0
	}
	w.in = w.in[1:]
}

// number passes over the length of what follows, each of which takes a byte at
// least. What is read is no more than there are left.
func (w *wire) number(n int) int {
	w.integer(&n)
	if w.reading && n > len(w.in) {
		w.broken = true
		return 0
	}
	return n
}

// integer passes over a number that is not negative.
func (w *wire) integer(n *int) {
	if !w.reading {
		w.out = binary.AppendUvarint(w.out, uint64(*n))
		return
	}
	*n = 0
	for i := 0; i < len(w.in) && i < binary.MaxVarintLen32; i++ {
		*n |= int(w.in[i]&0x7f) << (7 * i)
		if w.in[i] < 0x80 {
			w.in = w.in[i+1:]
			return
		}
	}
	*n, w.broken = 0, true
}
