package sql

import "bytes"

// Skeleton returns what the grammar sees in place of a text with this Key: the
// same statement without comments, in which an empty string or the number 1
// stands for each literal, and two of them for each list of literals alone.
// Whatever the literals were, it is the same, and it has none of their bytes.
//
// So a number may be any number: ORDER BY 1 any column of the result, and a row
// of VALUES longer than it looks. It is made anew by each call.
func (f *Facts) Skeleton() string {
	key := f.Key
	out := make([]byte, 0, len(key)+len(key)/4)
	prev := token{}
	for i := 0; ; {
		t, next := scan(key, i)
		switch {
		case t.kind == end:
			return string(out)
		case t.is("uescape") && prev.kind == literal:
			// U&'...' UESCAPE '!' is one literal. Nothing else has a literal on
			// both sides of this word.
			if escape, after := scan(key, next); escape.kind == literal {
				i = after
				continue
			}
		}
		if from := next - len(t.text); from > i || prev.kind == literal && t.kind == '.' || prev.kind == '.' && t.kind == literal {
			out = append(out, ' ') // no server takes a dot there, but it must not become part of a number
		}
		if t.kind == literal {
			out = appendLiteral(out, t.text[0])
		} else {
			out = append(out, t.text...)
		}
		prev, i = t, next
	}
}

// stand is what stands for literals in a skeleton.
var stand = [...]string{aString: "''", aBit: "B''", aHex: "X''", aNational: "N''", aNumber: "1"}

// appendLiteral appends what the mark in a key stands for. A list is one of two,
// so that what is a row, or has two arguments at least, stays one.
func appendLiteral(out []byte, mark byte) []byte {
	s := stand[mark&^aList]
	out = append(out, s...)
	if mark&aList != 0 {
		out = append(out, ", "...)
		out = append(out, s...)
	}
	return out
}

// hasSkeleton says whether valid SQL can be made of key again. What a name
// written as U&"" UESCAPE '!' is follows from a literal.
func hasSkeleton(key []byte) bool {
	if !bytes.Contains(key, []byte(`u&"`)) {
		return true
	}
	prev := token{}
	for i := 0; ; {
		t, next := scan(key, i)
		switch {
		case t.kind == end:
			return true
		case t.is("uescape") && prev.kind == unicode:
			return false
		}
		prev, i = t, next
	}
}
