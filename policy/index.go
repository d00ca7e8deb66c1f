package policy

import (
	"math/bits"

	"agentd.dev/decoders"
)

// A pool is the rules that events of one kind can meet in a session.
type pool struct {
	members []int // in plan.all
	// always are those of members, a bit each, that have no clues.
	always bitset
	fields []fieldIndex
}

// A fieldIndex finds the members of a pool that have clues about one field.
type fieldIndex struct {
	name     string
	all      bitset
	texts    map[string][]int
	prefixes []prefixes // by their length
}

// Prefixes are those of one length.
type prefixes struct {
	length int
	texts  map[string][]int
}

type bitset []uint64

func (b bitset) set(i int) { b[i/64] |= 1 << (i % 64) }

// add puts what is in other into b.
func (b bitset) add(other bitset) {
	for i, word := range other {
		b[i] |= word
	}
}

func newPool(members []int, all []candidate) pool {
	p := pool{members: members}
	words := (len(members) + 63) / 64
	p.always = make(bitset, words)
	for i, member := range members {
		c := &all[member]
		if c.truth != open || len(c.program.clues) == 0 {
			p.always.set(i)
			continue
		}
		for _, clue := range c.program.clues {
			p.field(clue.field, words).add(clue, i)
		}
	}
	return p
}

func (p *pool) field(name string, words int) *fieldIndex {
	for i := range p.fields {
		if p.fields[i].name == name {
			return &p.fields[i]
		}
	}
	p.fields = append(p.fields, fieldIndex{name: name, all: make(bitset, words), texts: map[string][]int{}})
	return &p.fields[len(p.fields)-1]
}

func (f *fieldIndex) add(c clue, member int) {
	f.all.set(member)
	if !c.prefix {
		f.texts[c.text] = append(f.texts[c.text], member)
		return
	}
	for i := range f.prefixes {
		if f.prefixes[i].length == len(c.text) {
			f.prefixes[i].texts[c.text] = append(f.prefixes[i].texts[c.text], member)
			return
		}
	}
	f.prefixes = append(f.prefixes, prefixes{len(c.text), map[string][]int{c.text: {member}}})
}

// could puts into b the members whose conditions an event could meet: for others
// they are false. A field that is not known, or too long to be looked at, could
// be anything.
func (p *pool) could(b bitset, facts decoders.Facts) bitset {
	b = append(b[:0], p.always...)
	for i := range p.fields {
		f := &p.fields[i]
		var value any
		if facts != nil {
			value = facts.Field(f.name)
		}
		switch v := value.(type) {
		case string:
			if len(v) > maxText {
				b.add(f.all)
				continue
			}
			f.find(b, v)
		case []string:
			for _, text := range v {
				f.find(b, text)
			}
		default:
			b.add(f.all)
		}
	}
	return b
}

func (f *fieldIndex) find(b bitset, text string) {
	for _, member := range f.texts[text] {
		b.set(member)
	}
	for i := range f.prefixes {
		if p := &f.prefixes[i]; len(text) >= p.length {
			for _, member := range p.texts[text[:p.length]] {
				b.set(member)
			}
		}
	}
}

// next returns the first member from i on that is in b, -1 if there is none.
func (b bitset) next(i int) int {
	for w := i / 64; w < len(b); w++ {
		word := b[w]
		if w == i/64 {
			word &= ^uint64(0) << (i % 64)
		}
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}
