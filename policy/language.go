package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"agentd.dev/decoders"
	"agentd.dev/policy/document"
)

// Limits on conditions. They bound what one evaluation can cost, in the units
// of CEL's cost model: about one for each operator and element looked at.
const (
	maxCondition = 8 << 10 // characters
	maxNodes     = 4 << 10 // of the syntax tree, macros expanded
	maxDepth     = 64
	maxLoops     = 3 // one inside the other
	maxCost      = 50_000
	maxRegexp    = 2000 // instructions of a compiled regular expression
)

// A language is what conditions can say about sessions of one protocol.
type language struct {
	name   string                    // the protocol's, "" for what holds of all
	fields map[string]decoders.Field // beyond variables
	slots  map[string]slot           // where the values are of variables and fields
	env    *cel.Env
}

// newLanguages makes the language of each protocol. The first is the one of
// all sessions, whatever their protocol.
func newLanguages(protocols []decoders.Protocol, x *lexicon) ([]*language, error) {
	env, err := baseEnv(x)
	if err != nil {
		return nil, err
	}
	languages := []*language{{env: env, slots: newSlots(nil)}}
	for _, p := range protocols {
		l := &language{name: p.Name, fields: map[string]decoders.Field{}}
		var options []cel.EnvOption
		for _, f := range p.Fields {
			if f.Noted {
				continue
			}
			l.fields[f.Name] = f
			options = append(options, cel.Variable(f.Name, fieldTypes[f.Type]))
		}
		l.slots = newSlots(l.fields)
		if l.env, err = env.Extend(options...); err != nil {
			return nil, err
		}
		languages = append(languages, l)
	}
	return languages, nil
}

func newSlots(fields map[string]decoders.Field) map[string]slot {
	slots := map[string]slot{}
	for i, v := range variables {
		slots[v.name] = slot{i, -1}
	}
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		slots[name] = slot{-1, i}
	}
	return slots
}

// fieldTypes are the CEL types of fields.
var fieldTypes = map[decoders.Type]*cel.Type{
	decoders.String:  cel.StringType,
	decoders.Strings: cel.ListType(cel.StringType),
	decoders.Int:     cel.IntType,
	decoders.Bool:    cel.BoolType,
}

func baseEnv(x *lexicon) (*cel.Env, error) {
	options := append(x.constants(),
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ParserRecursionLimit(maxDepth),
		cel.RegexProgramSizeLimit(maxRegexp),
		cel.ASTValidators(
			cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(maxLoops),
			cel.ValidateHomogeneousAggregateLiterals(),
		),
	)
	for _, v := range variables {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	for _, h := range hands {
		options = append(options, cel.Variable(h.name, h.typ))
	}
	for _, u := range usages {
		options = append(options, cel.Variable(u.name, u.typ))
	}
	return cel.NewEnv(options...)
}

// names are all the names that l has, sorted.
func (l *language) names() []string {
	names := slices.Collect(maps.Keys(l.fields))
	for _, v := range variables {
		names = append(names, v.name)
	}
	for _, h := range hands {
		names = append(names, h.name)
	}
	for _, u := range usages {
		names = append(names, u.name)
	}
	slices.Sort(names)
	return names
}

// session reports whether name is known in every session, whatever its protocol.
// Whether a list exists was looked at before.
func session(name string) bool {
	list, isList := strings.CutPrefix(name, "lists.")
	return isList && !strings.Contains(list, ".") || timely(name) || counted(name) ||
		slices.ContainsFunc(variables, func(v variable) bool { return v.name == name })
}

// early reports whether a field is known from the login on.
func early(f decoders.Field) bool { return f.Kinds == decoders.Login }

// resolve returns the name of languages that path begins with, as "sql.verbs"
// for "sql.verbs" and "target.labels" for "target.labels.env".
func resolve(path string, languages []*language) (string, bool) {
	for name := path; ; {
		if session(name) {
			return name, true
		}
		for _, l := range languages {
			if _, ok := l.fields[name]; ok {
				return name, true
			}
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return "", false
		}
		name = name[:dot]
	}
}

// owns reports whether path begins with a field of l's own.
func (l *language) owns(path string) bool {
	name, ok := resolve(path, []*language{l})
	return ok && !session(name)
}

// has reports whether path is known of events of one of these kinds.
func (l *language) has(path string, kinds decoders.Kinds) bool {
	name, ok := resolve(path, []*language{l})
	if !ok || session(name) {
		return ok || celName(path)
	}
	f := l.fields[name]
	return f.Kinds&kinds != 0 || early(f) && kinds != decoders.Cancel
}

// lacks says why l does not have path.
func (l *language) lacks(path string, kinds decoders.Kinds) string {
	name, ok := resolve(path, []*language{l})
	if !ok {
		return fmt.Sprintf("%s has no field %q%s", l.name, path, document.Suggest(path, l.names()))
	}
	return fmt.Sprintf("a %s has no %q: %s knows it of %s only", kindName(kinds), name, l.name, kindNames(l.fields[name].Kinds))
}

// kinds are those of kinds whose events have all the fields r speaks of.
func (l *language) kinds(r *reading, kinds decoders.Kinds) decoders.Kinds {
	for _, m := range r.mentions {
		name, _ := resolve(m.path, []*language{l})
		if f, ok := l.fields[name]; ok && !early(f) {
			kinds &= f.Kinds
		}
	}
	return kinds
}
