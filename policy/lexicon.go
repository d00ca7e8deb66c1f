package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"agentd.dev/policy/document"
)

// maxEntries bounds the lists of all files together.
const maxEntries = 100_000

// A lexicon is what the files of a policy give names to, for the conditions of
// all of them: lists.NAME and macros.NAME.
type lexicon struct {
	lists   map[string]*list
	macros  map[string]*macro
	names   []string // of all, as conditions write them, sorted
	entries int
}

// A list is a list of texts, or of whole numbers.
type list struct {
	at      document.Value
	texts   []string
	numbers []int64
	used    atomic.Bool
}

// words are the names under which conditions find what is in the lexicon, and
// the time, and what was used: none of them can be a variable's name.
var words = []string{"lists", "macros", "now", "usage", "first"}

// named is what the lexicon may call something: it must be a name in CEL, too.
var named = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// keywords are names that CEL keeps for itself.
var keywords = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in",
	"let", "loop", "namespace", "null", "package", "return", "true", "var", "void", "while",
}

// where is the file and the line of v.
func where(v document.Value) string {
	file, line, _ := v.Place()
	return fmt.Sprintf("%s:%d", file, line)
}

// newLexicon reads the lists and macros of all files.
func newLexicon(sources []source) *lexicon {
	x := &lexicon{lists: map[string]*list{}, macros: map[string]*macro{}}
	for _, s := range sources {
		if s.lists != nil {
			x.readLists(*s.lists)
		}
		if s.macros != nil {
			x.readMacros(*s.macros)
		}
	}
	for name := range x.lists {
		x.names = append(x.names, "lists."+name)
	}
	for name := range x.macros {
		x.names = append(x.names, "macros."+name)
	}
	slices.Sort(x.names)
	return x
}

// entry checks the name of something that is to be in the lexicon.
func entry(key document.Value, what string, first func(name string) *document.Value) (name string, ok bool) {
	name, ok = key.Word()
	switch {
	case !ok:
		return "", false
	case !named.MatchString(name) || slices.Contains(keywords, name):
		key.Problem("%q cannot name a %s: use letters, digits and underscores, and no word of CEL", name, what)
		return "", false
	}
	if before := first(name); before != nil {
		key.Problem("%s %q again: the first is at %s; names must differ in all files", what, name, where(*before))
		return "", false
	}
	return name, true
}

func (x *lexicon) readLists(v document.Value) {
	v.Pairs(func(key, v document.Value) {
		name, ok := entry(key, "list", func(name string) *document.Value {
			if l := x.lists[name]; l != nil {
				return &l.at
			}
			return nil
		})
		l := &list{at: key}
		l.read(v)
		if x.entries += len(l.texts) + len(l.numbers); x.entries > maxEntries {
			v.Problem("more than %d entries in all lists", maxEntries)
		}
		if ok {
			x.lists[name] = l
		}
	})
}

// read reads the entries, all of the kind of the first.
func (l *list) read(v document.Value) {
	n := 0
	v.List(func(v document.Value) {
		if n++; n > maxEntries {
			return
		}
		if len(l.numbers) > 0 || n == 1 && v.IsInt() {
			if i, ok := v.Int(); ok {
				l.numbers = append(l.numbers, int64(i))
			}
			return
		}
		if text, ok := v.Text(); ok {
			l.texts = append(l.texts, text)
		}
	})
	if n == 0 && v.IsList() {
		v.Problem("an empty list: give it an entry, or leave it out")
	}
}

// value returns the list as CEL sees it.
func (l *list) value() (*cel.Type, ref.Val) {
	if l.numbers != nil {
		return cel.ListType(cel.IntType), types.NewDynamicList(types.DefaultTypeAdapter, l.numbers)
	}
	return cel.ListType(cel.StringType), types.NewStringList(types.DefaultTypeAdapter, l.texts)
}

// constants make the lists known to an environment.
func (x *lexicon) constants() (options []cel.EnvOption) {
	for name, l := range x.lists {
		t, v := l.value()
		options = append(options, cel.Constant("lists."+name, t, v))
	}
	return options
}

// owns reports whether path is a list or macro, if it is anything.
func (x *lexicon) owns(path string) bool {
	return strings.HasPrefix(path, "lists.") || strings.HasPrefix(path, "macros.")
}

// has reports whether path is a list or a macro, or begins with one.
func (x *lexicon) has(path string) bool {
	word, rest, _ := strings.Cut(path, ".")
	name, _, _ := strings.Cut(rest, ".")
	switch word {
	case "lists":
		return x.lists[name] != nil
	case "macros":
		return x.macros[name] != nil
	}
	return false
}

// texts are the entries of the list that path names, nil if it is none of texts.
func (x *lexicon) texts(path string) []string {
	name, ok := strings.CutPrefix(path, "lists.")
	if l := x.lists[name]; ok && l != nil {
		return l.texts
	}
	return nil
}

// length is how many entries the list has that path names.
func (x *lexicon) length(path string) int {
	l := x.lists[strings.TrimPrefix(path, "lists.")]
	return len(l.texts) + len(l.numbers)
}

// Unused are lists and macros that no rule needs: no mistake, but perhaps one in
// the making.
func (x *lexicon) unused() []Problem {
	var all []Problem
	add := func(what, name string, at document.Value) {
		file, line, column := at.Place()
		all = append(all, Problem{File: file, Line: line, Column: column, Message: what + " " + name + " is used by no rule"})
	}
	for name, l := range x.lists {
		if !l.used.Load() {
			add("list", name, l.at)
		}
	}
	for name, m := range x.macros {
		if !m.used.Load() {
			add("macro", name, m.at)
		}
	}
	return all
}
