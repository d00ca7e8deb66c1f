package postgres

import (
	"fmt"
	"testing"

	"agentd.dev/decoders/sql"
)

func TestOptionsThatChangeHowRowsAreCutAreRefused(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"copy t to stdout", "{false false}"},
		{"COPY t (a, b) TO STDOUT;", "{false false}"},
		{"copy (select a from t where b in (1, 2)) to stdout with (format csv, header)", "{true true}"},
		{"copy t to stdout (format text, header on)", "{false true}"},
		{"copy t to stdout with (header false, format binary)", "{false false}"},
		{"copy t to stdout with csv header", "{true true}"},
		{"copy t to stdout binary", "{false false}"},
		{`copy "stdout" ("to", csv) to stdout`, "{false false}"},
		{"copy t to stdout with (format 'csv')", "no"},
		{`copy t to stdout with (format "csv")`, "no"},
		{"copy t to stdout with (header 'true')", "no"},
		{"copy t to stdout with (delimiter ';')", "no"},
		{"copy t to stdout with (format csv, null 'x')", "no"},
		{"copy t to stdout with (format csv, force_quote *)", "no"},
		{"copy t to stdout csv quote 'x'", "no"},
		{"copy t to stdout delimiters ';'", "no"},
		{"copy t to stdout with (encoding 'sjis')", "no"},
		{"copy t to stdout; copy t to stdout csv", "no"},
		{"copy t to '/tmp/x'", "no"},
	} {
		f, ok := formOf(sql.NewAnalyzer(nil).Analyze([]byte(tt.text)))
		got := "no"
		if ok {
			got = fmt.Sprint(f)
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestCopiedRowsAreCutAsTheServerWroteThem(t *testing.T) {
	text, csv := copyForm{}, copyForm{csv: true}
	for _, tt := range []struct {
		form copyForm
		row  string
		want string // values as they are read, or an error
	}{
		{text, "a\tb\n", `["a" "b"]`},
		{text, "\\N\t\n", `[NULL ""]`},
		{text, "a\\tb\\\\\tc\\nd\n", `["a\tb\\" "c\nd"]`},
		{text, "a,\"b\n", `["a,\"b"]`},
		{text, "a\tb", "error"},
		{text, "a\nb\n", "error"},
		{text, "a\\", "error"},
		{csv, "a,b\n", `["a" "b"]`},
		{csv, ",\"\"\n", `[NULL ""]`},
		{csv, "\"a,\"\"b\nc\",\"d\"\n", `["a,\"b\nc" "d"]`},
		{csv, "\"\"\"\",x\n", `["\"" "x"]`},
		{csv, "\\N\n", `["\\N"]`},
		{csv, "\"a\n", "error"},
		{csv, "a\nb\n", "error"},
	} {
		var got []string
		rest, more := []byte(tt.row), true
		for more {
			value, after, last, err := tt.form.next(rest)
			if err != nil {
				got = nil
				break
			}
			read, isNull := tt.form.read(nil, value)
			if isNull {
				got = append(got, "NULL")
			} else {
				got = append(got, fmt.Sprintf("%q", read))
				if again, _ := tt.form.read(nil, tt.form.write(nil, read)); string(again) != string(read) {
					t.Errorf("%q is written as what reads %q", read, again)
				}
			}
			rest, more = after, !last
		}
		printed := "error"
		if got != nil {
			printed = fmt.Sprint(got)
		}
		if printed != tt.want {
			t.Errorf("%q: got %s, want %s", tt.row, printed, tt.want)
		}
	}
}
