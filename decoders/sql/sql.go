// Package sql reads PostgreSQL's dialect as far as words go: it cuts a text
// into statements, says what they do, gives the form that is left when
// literals are taken out, and redacts.
//
// It is a bounded lexer, not a grammar, and so it errs on one side: a text
// that it cannot read, or that servers with other settings would read
// differently, is unclassified, and a word that may be a verb is one.
package sql

import (
	"bytes"
	"cmp"

	"agentd.dev/decoders"
)

// An Analyzer analyzes the statements of one connection, and remembers those
// it saw. It is not for concurrent use.
type Analyzer struct {
	watch   *watch
	folder  folder
	lexer   lexer
	cache   cache
	unknown [len(reasons)]*Facts // of texts that have no key, by reason
}

// NewAnalyzer returns an Analyzer that looks for the names in watch.
func NewAnalyzer(watch []decoders.ColumnName) *Analyzer {
	return &Analyzer{watch: newWatch(watch)}
}

// Analyze says what text does. It never returns nil, takes time linear in the
// text, and allocates nothing for a text whose normalised form it remembers.
func (a *Analyzer) Analyze(text []byte) *Facts {
	f, why, unclear := a.read(text, readings[0])
	if unclear {
		f, why = a.settle(text)
	}
	if f == nil {
		f = a.unread(why)
	}
	if cap(a.folder.key) > maxEntry {
		a.folder.key = nil
	}
	return f
}

// read analyzes text under one reading, nil if it cannot be. It says, too,
// whether other readings may differ.
func (a *Analyzer) read(text []byte, r reading) (f *Facts, why reason, unclear bool) {
	a.lexer = lexer{text: text, reading: r}
	a.folder.key = a.folder.key[:0]
	why = a.folder.fold(&a.lexer)
	unclear = a.lexer.ambiguous
	a.lexer.text = nil
	if why != understood {
		return nil, why, unclear
	}
	if f = a.cache.get(a.folder.key); f == nil {
		f = classify(a.folder.key, a.watch)
		a.cache.put(a.folder.key, f)
	}
	return f, understood, unclear
}

// settle analyzes text under every reading. Those under which the server is
// sure to reject it do not count; the others must agree.
func (a *Analyzer) settle(text []byte) (*Facts, reason) {
	var agreed *Facts
	first := understood
	for _, r := range readings {
		f, why, _ := a.read(text, r)
		switch {
		case f == nil && !reasons[why].rejected:
			return nil, ambiguous
		case f == nil:
			first = cmp.Or(first, why)
		case agreed == nil:
			agreed = f
		case !agreed.agrees(f):
			return nil, ambiguous
		}
	}
	return agreed, first
}

// agrees says whether two readings of a text come to the same, for the grammar
// as well.
func (f *Facts) agrees(g *Facts) bool {
	return f == g || len(f.Key) > 0 && bytes.Equal(f.Key, g.Key)
}

// unread returns the facts of a text that has none: it may do anything, name
// anything, and hold any secret.
func (a *Analyzer) unread(why reason) *Facts {
	if a.unknown[why] == nil {
		f := &Facts{Unclassified: reasons[why].text, Opaque: true, Secret: true, table: a.watch.any, column: a.watch.any}
		a.unknown[why] = f.seal()
	}
	return a.unknown[why]
}
