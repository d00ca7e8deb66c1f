package walk

import (
	"math/bits"

	"agentd.dev/decoders/sql"
)

// An atom is one of the things that a value can be made of.
type atom struct {
	kind     atomKind
	ref      sql.Ref       // of aRef
	function sql.Qualified // of aFunction
	later    set           // of aLater, once it is known
}

type atomKind uint8

const (
	anUnclear atomKind = iota // it cannot be told what
	aRef                      // a column
	aFunction                 // a function that it came from or through
	aLater                    // a column of a recursive query that is still being read
)

// A set is a set of atoms, a bit for each. Sets never change once made.
type set []uint64

// A value is what an expression is made of.
type value struct {
	of set
	// plain: it is a column as it stands.
	plain bool
	// counts: nothing of it shows but how many rows there were.
	counts bool
}

// constant says that v has nothing of the database in it.
func (v value) constant() bool { return len(v.of) == 0 && !v.counts }

// atoms numbers the atoms of a statement.
type atoms struct {
	list    []atom
	numbers map[sql.Ref]int
	called  map[sql.Qualified]int
	work    int // words of sets that were merged
}

// column returns the set of one column.
func (a *atoms) column(r sql.Ref) set {
	n, known := a.numbers[r]
	if !known {
		n = a.add(atom{kind: aRef, ref: r})
		if a.numbers == nil {
			a.numbers = make(map[sql.Ref]int)
		}
		a.numbers[r] = n
	}
	return one(n)
}

// function returns the set of one function.
func (a *atoms) function(f sql.Qualified) set {
	n, known := a.called[f]
	if !known {
		n = a.add(atom{kind: aFunction, function: f})
		if a.called == nil {
			a.called = make(map[sql.Qualified]int)
		}
		a.called[f] = n
	}
	return one(n)
}

// laterAtom returns the number of an atom that stands for what is not known yet.
func (a *atoms) laterAtom() int { return a.add(atom{kind: aLater}) }

// unclear returns the set of what cannot be told: any column of any relation.
func (a *atoms) unclearSet() set {
	return a.union(a.column(sql.Ref{Column: "*"}), one(a.add(atom{kind: anUnclear})))
}

func (a *atoms) add(x atom) int {
	a.list = append(a.list, x)
	return len(a.list) - 1
}

func one(n int) set {
	s := make(set, n/64+1)
	s[n/64] = 1 << (n % 64)
	return s
}

// union returns what is in x or y.
func (a *atoms) union(x, y set) set {
	if len(x) < len(y) {
		x, y = y, x
	}
	a.work += len(y)
	if a.work > maxWork {
		return x // what comes of it is thrown away
	}
	for i, word := range y {
		if word&^x[i] == 0 {
			continue
		}
		a.work += len(x)
		sum := make(set, len(x))
		copy(sum, x)
		for ; i < len(y); i++ {
			sum[i] |= y[i]
		}
		return sum
	}
	return x
}

// each calls f with the atoms of s, those meant by others that came later
// included.
func (a *atoms) each(s set, f func(atom)) {
	var seen set
	for todo := []set{s}; len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for i, word := range next {
			if i < len(seen) {
				word &^= seen[i]
			}
			for ; word != 0; word &= word - 1 {
				if x := a.list[i*64+bits.TrailingZeros64(word)]; x.kind == aLater {
					todo = append(todo, x.later)
				} else {
					f(x)
				}
			}
		}
		seen = a.union(seen, next)
	}
}

// both is what is made of x and y.
func (a *atoms) both(x, y value) value {
	return value{
		of:     a.union(x.of, y.of),
		counts: (x.counts || x.constant()) && (y.counts || y.constant()) && (x.counts || y.counts),
	}
}

// either is a value that is x or y.
func (a *atoms) either(x, y value) value {
	v := a.both(x, y)
	v.plain = x.plain && y.plain
	return v
}

// derived is what is made of v.
func derived(v value) value {
	v.plain = false
	return v
}

// shown is v as something in which more shows than how many rows there were.
func shown(v value) value {
	v.counts, v.plain = false, false
	return v
}
