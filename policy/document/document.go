// Package document reads YAML files that people write: unknown keys, wrong
// types and doubled keys are problems, each with its place in the file, and
// all of them are found in one go.
//
// It reads plain YAML only. Anchors, aliases and merge keys are refused: a
// policy should say what it says where it stands.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxSize is how long a file may be, in bytes.
const maxSize = 4 << 20

// A File is one file that was read.
type File struct {
	Name   string
	source string
	report *Report
}

// Open reads the file of that name and returns its root. It is false if the
// file has no root to look into; the report then says why.
func Open(name string, report *Report) (Value, bool) {
	source, err := read(name)
	if err != nil {
		report.Add(Problem{File: name, Message: err.Error()})
		return Value{}, false
	}
	return Parse(name, source, report)
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	source, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	switch {
	case err != nil:
		return nil, plain(err)
	case len(source) > maxSize:
		return nil, fmt.Errorf("longer than %d MiB: this cannot be a configuration", maxSize>>20)
	}
	return source, nil
}

// plain says what to do about an error of the file system.
func plain(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("no such file: check the path, or create the file")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("permission denied: run as root, or make the file readable for agentd")
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// Parse is Open for a file that was read already.
func Parse(name string, source []byte, report *Report) (Value, bool) {
	f := &File{Name: name, source: string(source), report: report}
	if at := invalid(source); at >= 0 {
		line := 1 + bytes.Count(source[:at], []byte("\n"))
		column := at - bytes.LastIndexByte(source[:at], '\n')
		f.problem(line, column, "a byte that is not UTF-8 text: save the file as UTF-8")
		return Value{}, false
	}
	d := yaml.NewDecoder(bytes.NewReader(source))
	var root yaml.Node
	switch err := d.Decode(&root); {
	case errors.Is(err, io.EOF):
		f.problem(0, 0, "empty")
		return Value{}, false
	case err != nil:
		f.syntax(err)
		return Value{}, false
	}
	var second yaml.Node
	switch err := d.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		f.syntax(err)
		return Value{}, false
	default:
		f.problem(second.Line, second.Column, `a second document: remove the "---" line`)
		return Value{}, false
	}
	if len(root.Content) != 1 || root.Content[0].Tag == "!!null" {
		f.problem(0, 0, "empty")
		return Value{}, false
	}
	return Value{file: f, node: root.Content[0]}, true
}

// invalid returns where source stops being UTF-8, -1 if nowhere.
func invalid(source []byte) int {
	for i := 0; i < len(source); {
		r, n := utf8.DecodeRune(source[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func (f *File) problem(line, column int, message string) {
	f.report.Add(Problem{File: f.Name, Line: line, Column: column, Message: message})
}

var yamlError = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(?s:(.*))$`)

// syntax reports why the YAML parser gave up. It knows the line only; for
// the most common mistake the place can be told exactly.
func (f *File) syntax(err error) {
	n := 0
	for line := range strings.Lines(f.source) {
		n++
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if at := strings.IndexByte(indent, '\t'); at >= 0 {
			f.problem(n, at+1, "a tab: indent with spaces")
			return
		}
	}
	m := yamlError.FindStringSubmatch(err.Error())
	line, err := strconv.Atoi(m[1])
	if err != nil {
		line = 1
	}
	f.problem(min(line, max(n, 1)), 1, "not YAML: "+m[2])
}
