package postgres

import (
	"bytes"
	"errors"
	"strings"

	"agentd.dev/decoders/sql"
)

// A copyForm is how a COPY TO STDOUT writes text.
type copyForm struct {
	csv    bool
	header bool
}

// formOf reads the options of a COPY TO STDOUT. Those that change how a row is
// cut into values, and those in literals, make it false: the row could then be
// cut elsewhere than the client cuts it.
func formOf(facts *sql.Facts) (f copyForm, ok bool) {
	all := words(facts.Normalized)
	depth, from := 0, -1
	for i, w := range all {
		switch w {
		case "(":
			depth++
		case ")":
			depth--
		case "stdout":
			if depth == 0 && at(all, i-1) == "to" && from < 0 {
				from = i + 1
			}
		}
	}
	if from < 0 || facts.Statements != 1 {
		return f, false
	}
	rest := all[from:]
	if at(rest, len(rest)-1) == ";" {
		rest = rest[:len(rest)-1]
	}
	if at(rest, 0) == "with" {
		rest = rest[1:]
	}
	if at(rest, 0) == "(" && at(rest, len(rest)-1) == ")" {
		return f, f.options(strings.Join(rest[1:len(rest)-1], " "))
	}
	for _, w := range rest { // as before version 9
		if !f.option(w) {
			return f, false
		}
	}
	return f, true
}

// options reads options in parentheses.
func (f *copyForm) options(list string) bool {
	for option := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(option), " ")
		switch {
		case name == "format" && f.option(value):
		case name == "header" && (value == "" || value == "true" || value == "on"):
			f.header = true
		case name == "header" && (value == "false" || value == "off"):
		default:
			return false
		}
	}
	return true
}

func (f *copyForm) option(word string) bool {
	switch word {
	case "csv":
		f.csv = true
	case "header":
		f.header = true
	case "text", "binary":
	default:
		return false
	}
	return true
}

var errCopied = errors.New("what the server copies out cannot be cut into rows and values")

// next cuts a value off the front of a row as it is written, with what ends it.
func (f copyForm) next(row []byte) (value, rest []byte, last bool, err error) {
	delimiter := byte('\t')
	i := 0
	if f.csv {
		delimiter = ','
		for quoted := false; i < len(row); i++ {
			if row[i] == '"' {
				quoted = !quoted
			} else if !quoted && (row[i] == ',' || row[i] == '\n') {
				break
			}
		}
	} else {
		for i < len(row) && row[i] != '\t' && row[i] != '\n' {
			if row[i] == '\\' {
				i++
			}
			i++
		}
	}
	switch {
	case i >= len(row):
		return nil, nil, false, errCopied
	case row[i] == delimiter:
		return row[:i], row[i+1:], false, nil
	case i < len(row)-1: // a row has one end
		return nil, nil, false, errCopied
	}
	return row[:i], nil, true, nil
}

func (f copyForm) null() string {
	if f.csv {
		return ""
	}
	return `\N`
}

// read appends the text of a value as it is written.
func (f copyForm) read(dst, value []byte) (text []byte, isNull bool) {
	if string(value) == f.null() {
		return dst, true
	}
	if f.csv {
		if len(value) < 2 || value[0] != '"' {
			return append(dst, value...), false
		}
		for i := 1; i < len(value)-1; i++ {
			if value[i] == '"' {
				i++
			}
			dst = append(dst, value[i])
		}
		return dst, false
	}
	for i := 0; i < len(value); i++ {
		b := value[i]
		if b == '\\' && i+1 < len(value) {
			i++
			if b = value[i]; escaped[b] != 0 {
				b = escaped[b]
			}
		}
		dst = append(dst, b)
	}
	return dst, false
}

// write appends a text as a value.
func (f copyForm) write(dst, text []byte) []byte {
	if f.csv {
		dst = append(dst, '"')
		for _, b := range text {
			if b == '"' {
				dst = append(dst, b)
			}
			dst = append(dst, b)
		}
		return append(dst, '"')
	}
	for _, b := range text {
		if i := bytes.IndexByte(escaped[:], b); b == '\\' || i >= 0 && b != 0 {
			dst = append(dst, '\\')
			if i >= 0 {
				b = byte(i)
			}
		}
		dst = append(dst, b)
	}
	return dst
}
