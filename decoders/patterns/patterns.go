// Package patterns finds in texts what should not be seen: addresses, numbers
// of cards and accounts, keys.
//
// A finder goes by form and by whatever makes a form certain, as check digits:
// it would rather miss a number that could be anything than blot out half of a
// table. It sees values as they are, not what was made of them: encoded,
// reversed or spelt out they are not found. What must not be read in any form
// is masked by its column.
//
// All built-in finders are written by hand: each skips what cannot be part of
// a hit without looking at every byte, in time that grows with the text alone.
package patterns

import (
	"slices"

	"agentd.dev/decoders"
)

// A Pattern is one kind of thing that can be found.
type Pattern struct {
	Name string
	Doc  string // one line, for people who write policies
	// find appends what is in text, in order, as spans of that kind.
	find func(dst []decoders.Span, text []byte, kind int) []decoders.Span
	// number looks at the digits that begin at text[at], the first of their
	// group. To is 0 if they begin nothing.
	number func(text []byte, at int) (from, to int)
	digits int // that a number has at least
	least  int // bytes that a find has at least
}

// All are the patterns that have a name of their own.
var All = []Pattern{
	{Name: "email", Doc: "addresses of electronic mail", find: emails, least: len("a@b.cd")},
	{Name: "card", Doc: "numbers of payment cards, with spaces or dashes, with right check digits", number: card, digits: minCard},
	{Name: "ssn", Doc: "social security numbers of the United States, with dashes or spaces", number: ssn, digits: 9},
	{Name: "iban", Doc: "international bank account numbers, in capitals, with right check digits", find: ibans, least: minIBAN},
	{Name: "phone", Doc: "telephone numbers: international ones with +, and those of North America", number: phone, digits: 8},
	{Name: "ip", Doc: "addresses of IP, versions 4 and 6", find: ip6s, least: len("::1"), number: ip4, digits: 4},
	{Name: "jwt", Doc: "JSON web tokens", find: jwts, least: len("e30x.a.")},
	{Name: "key", Doc: "keys of clouds and services, private keys in PEM", find: keys, least: len("xoxb-0123456789")},
}

// Named returns the pattern of that name.
func Named(name string) (Pattern, bool) {
	i := slices.IndexFunc(All, func(p Pattern) bool { return p.Name == name })
	if i < 0 {
		return Pattern{}, false
	}
	return All[i], true
}

// A Set finds several patterns at once. It implements decoders.Finder.
type Set struct {
	finds   []located
	numbers []located // found in one walk over all digits
	fewest  int       // digits that any of them needs
}

// A located pattern is one of a set.
type located struct {
	Pattern
	kind int
}

// New returns a set of patterns. The kind of a span is the place of its pattern
// in the list.
func New(all ...Pattern) *Set {
	s := new(Set)
	for kind, p := range all {
		if p.find != nil {
			s.finds = append(s.finds, located{p, kind})
		}
		if p.number != nil {
			s.numbers = append(s.numbers, located{p, kind})
			if s.fewest == 0 || p.digits < s.fewest {
				s.fewest = p.digits
			}
		}
	}
	return s
}

// Find implements decoders.Finder. Where finds overlap, the one that begins
// first, or else the longer one, has all of its own.
func (s *Set) Find(dst []decoders.Span, text []byte) []decoders.Span {
	base := len(dst)
	sorted := true
	for i := range s.finds {
		if len(text) < s.finds[i].least {
			continue
		}
		before := len(dst)
		dst = s.finds[i].find(dst, text, s.finds[i].kind)
		sorted = sorted && (before == base || len(dst) == before)
	}
	if len(s.numbers) > 0 && len(text) >= shortest {
		before := len(dst)
		dst = s.walk(dst, text)
		sorted = sorted && (before == base || len(dst) == before)
	}
	if !sorted {
		dst = dst[:base+len(disjoint(dst[base:]))]
	}
	return dst
}

// disjoint sorts spans and cuts off, or drops, what overlaps the one before.
func disjoint(spans []decoders.Span) []decoders.Span {
	slices.SortFunc(spans, func(a, b decoders.Span) int {
		if a.From != b.From {
			return a.From - b.From
		}
		return b.To - a.To
	})
	kept := spans[:1]
	for _, s := range spans[1:] {
		s.From = max(s.From, kept[len(kept)-1].To)
		if s.From < s.To {
			kept = append(kept, s)
		}
	}
	return kept
}
