// Package sql reads PostgreSQL's dialect as far as words go: it cuts a text
// into statements, says what they do, gives the form that is left when
// literals are taken out, and redacts.
//
// It is a bounded lexer, not a grammar, and so it errs on one side: a text
// that it cannot read, or that servers with other settings would read
// differently, is unclassified, and a word that may be a verb is one.
package sql

import (
	"slices"

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
			first = max(first, why)
		case agreed == nil:
			agreed = f
		case !agreed.agrees(f):
			return nil, ambiguous
		}
	}
	return agreed, first
}

// agrees says whether two readings of a text come to the same.
func (f *Facts) agrees(g *Facts) bool {
	return f == g || f.Statements == g.Statements && f.Opaque == g.Opaque &&
		f.Secret == g.Secret && f.Unclassified == g.Unclassified &&
		f.table == g.table && f.column == g.column && slices.Equal(f.Verbs, g.Verbs) &&
		slices.Equal(f.Commands, g.Commands) && slices.Equal(f.Names, g.Names)
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

// Redact appends text to dst with "?" in place of every literal, and without
// comments. If it cannot tell what is a literal it appends a note that says
// how long the text is.
func (a *Analyzer) Redact(dst, text []byte) []byte {
	from := len(dst)
	dst, ok, unclear := redact(dst, text, readings[0])
	if ok && !unclear {
		return dst
	}
	if unclear {
		var sole bool
		if dst, sole = redactAny(dst[:from], text); sole {
			return dst
		}
	}
	dst = append(dst[:from], "["...)
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	return append(dst, " bytes that could not be read as SQL]"...)
}

// redactAny redacts text by the one reading that can read it. It is false if
// there is none, or another one.
func redactAny(dst, text []byte) ([]byte, bool) {
	from := len(dst)
	var found []byte
	for _, r := range readings {
		out, ok, _ := redact(nil, text, r)
		switch {
		case !ok:
		case found == nil:
			found = out
		case string(found) != string(out):
			return dst[:from], false
		}
	}
	return append(dst, found...), found != nil
}

func redact(dst, text []byte, r reading) (out []byte, ok, unclear bool) {
	l := lexer{text: text, reading: r}
	for {
		before := l.pos
		if !l.next() {
			return dst, false, l.ambiguous
		}
		switch {
		case !l.commented:
			dst = append(dst, text[before:l.start]...)
		case l.kind != end:
			dst = append(dst, ' ')
		}
		switch l.kind {
		case end:
			return dst, true, l.ambiguous
		case literal:
			dst = append(dst, '?')
		default:
			dst = append(dst, text[l.start:l.pos]...)
		}
	}
}
