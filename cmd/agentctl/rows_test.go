package main

import (
	"bytes"
	"testing"
	"time"

	"agentd.dev/recorder"
)

func text(s string) *string { return &s }

func TestResultsAreTablesOfOneLineForEachRow(t *testing.T) {
	r := &recorder.Rows{
		Columns:  []string{"id", "em\x1bail", "note"},
		Rows:     [][]*string{{text("1"), text("***"), text("two\nlines \x1b[2J\u202e")}, {text("22"), nil}},
		Withheld: 2, Cut: "limit",
	}
	e := &recorder.Entry{Rows: []*recorder.Rows{r}, Columns: []recorder.Column{{Index: 1, Masked: true}}}
	var out bytes.Buffer
	(&app{out: &out}).writeRows(&out, r, maskedColumns(e))
	want := `          |   id  em\x1bail (masked)  note
          |   1   ***                 two lines \x1b[2J\u202e
          |   22  NULL
          |   further rows are not recorded: they are beyond the limit
          |   2 secrets withheld from the record
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out.Reset()
	r.Columns, r.Rows, r.Cut, r.Withheld = nil, make([][]*string, shownRows+5), "", 0
	for i := range r.Rows {
		r.Rows[i] = []*string{text("x")}
	}
	(&app{out: &out, outWidth: 40}).writeRows(&out, r, nil)
	if got := bytes.Count(out.Bytes(), []byte("\n")); got != shownRows+1 || !bytes.Contains(out.Bytes(), []byte("and 5 rows more in the record")) {
		t.Errorf("got %d lines:\n%s", got, out.String())
	}
}

func TestWhatPeopleSaidIsTold(t *testing.T) {
	v := recorder.Vote{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), What: "granted", By: "ann", As: "root", Via: "socket", Reason: "looks right"}
	if got, want := voted(v), "approval granted at 12:00:00 by ann, as root, via socket: looks right"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNoFieldOfASheetIsAFormula(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"select 1", "select 1"},
		{"", ""},
		{"=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"},
		{"+1", "'+1"},
		{"-- a comment", "'-- a comment"},
		{"@SUM(A1)", "'@SUM(A1)"},
		{" \n=1", "' \n=1"},
		{"\t=1", "'    =1"},
		{"\r=1", `\x0d=1`},
		{"＝1", "'＝1"},
		{"a\x00b", `a\x00b`},
	} {
		if got := inert(tt.text); got != tt.want {
			t.Errorf("inert(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
