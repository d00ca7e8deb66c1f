package document

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// A Value is one value of a file, with its place in it.
type Value struct {
	file *File
	node *yaml.Node
}

// A Key is a key that a mapping may have.
type Key struct {
	Name     string
	Required bool
	Read     func(Value)
}

// Problem reports that something is wrong with v.
func (v Value) Problem(format string, args ...any) {
	v.file.problem(v.node.Line, v.node.Column, fmt.Sprintf(format, args...))
}

// Place returns where v begins.
func (v Value) Place() (file string, line, column int) {
	return v.file.Name, v.node.Line, v.node.Column
}

// Null reports whether v is null, or was left out behind its key.
func (v Value) Null() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" }

// Map reads a mapping, key by key in the order of the file. What it has
// beyond keys, twice, or lacks of what is required is reported.
func (v Value) Map(keys []Key) {
	if v.node.Kind != yaml.MappingNode {
		v.wrong("a mapping of keys to values")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, value := Value{v.file, v.node.Content[i]}, Value{v.file, v.node.Content[i+1]}
		name := key.node.Value
		switch at, known := find(keys, name); {
		case key.node.Kind != yaml.ScalarNode || key.node.Tag == "!!merge":
			key.wrong("a key")
		case seen[name] != 0:
			key.Problem("key %q again: it is on line %d already", name, seen[name])
		case !known:
			key.Problem("unknown key %q%s", name, suggestKey(name, keys))
		default:
			keys[at].Read(value)
		}
		seen[name] = key.node.Line
	}
	for _, key := range keys {
		if key.Required && seen[key.Name] == 0 {
			v.Problem("%q is missing", key.Name)
		}
	}
}

func find(keys []Key, name string) (int, bool) {
	for i := range keys {
		if keys[i].Name == name {
			return i, true
		}
	}
	return 0, false
}

func suggestKey(name string, keys []Key) string {
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].Name
	}
	return Choices(name, names)
}

// Pairs reads a mapping whose keys are not known beforehand.
func (v Value) Pairs(each func(key, value Value)) {
	if v.node.Kind != yaml.MappingNode {
		v.wrong("a mapping of keys to values")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, value := Value{v.file, v.node.Content[i]}, Value{v.file, v.node.Content[i+1]}
		switch name := key.node.Value; {
		case key.node.Kind != yaml.ScalarNode || key.node.Tag == "!!merge":
			key.wrong("a key")
		case seen[name] != 0:
			key.Problem("key %q again: it is on line %d already", name, seen[name])
		default:
			seen[name] = key.node.Line
			each(key, value)
		}
	}
}

// List reads a sequence.
func (v Value) List(each func(Value)) {
	if v.node.Kind != yaml.SequenceNode {
		v.wrong("a list")
		return
	}
	for _, node := range v.node.Content {
		each(Value{v.file, node})
	}
}

// Text reads a string. Numbers and booleans are strings only in quotes.
func (v Value) Text() (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!str" {
		v.wrong("text")
		return "", false
	}
	return v.node.Value, true
}

// Word reads a scalar as it is written, whatever YAML takes it for.
func (v Value) Word() (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag == "!!null" {
		v.wrong("text")
		return "", false
	}
	return v.node.Value, true
}

// Int reads a whole number that is at least 0.
func (v Value) Int() (int, bool) {
	n, err := strconv.Atoi(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!int" || err != nil || n < 0 {
		v.wrong("a whole number")
		return 0, false
	}
	return n, true
}

// Bool reads true or false.
func (v Value) Bool() (value, ok bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!bool" {
		v.wrong("true or false")
		return false, false
	}
	return v.node.Value == "true" || v.node.Value == "True" || v.node.Value == "TRUE", true
}

// IsList reports whether v is a sequence.
func (v Value) IsList() bool { return v.node.Kind == yaml.SequenceNode }

// IsInt reports whether v is a whole number.
func (v Value) IsInt() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!int" }

// IsMap reports whether v is a mapping.
func (v Value) IsMap() bool { return v.node.Kind == yaml.MappingNode }

// Choice reads one of choices and returns its index.
func (v Value) Choice(choices []string) (int, bool) {
	if v.node.Kind != yaml.ScalarNode {
		v.wrong(List(choices))
		return 0, false
	}
	for i, choice := range choices {
		if v.node.Value == choice {
			return i, true
		}
	}
	if s := Suggest(v.node.Value, choices); s != "" {
		v.Problem("%q is not one of %s%s", v.node.Value, List(choices), s)
		return 0, false
	}
	v.wrong(List(choices))
	return 0, false
}

// wrong reports that v is not what it should be.
func (v Value) wrong(want string) {
	v.Problem("want %s, not %s", want, v.describe())
}

// kinds says what a node is, by its tag.
var kinds = map[string]string{
	"!!int": "a number", "!!float": "a number", "!!bool": "true or false",
	"!!timestamp": "a date", "!!null": "nothing", "!!binary": "binary data", "!!merge": "a merge key",
}

func (v Value) describe() string {
	switch v.node.Kind {
	case yaml.AliasNode:
		return "an alias: write the value out"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch what, ok := kinds[v.node.Tag]; {
	case v.node.Tag == "!!null":
		return what
	case ok:
		return fmt.Sprintf("%s (%s): put it in quotes if it is text", what, clip(v.node.Value))
	}
	return strconv.Quote(clip(v.node.Value))
}

// clip shortens text that would fill the screen.
func clip(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
