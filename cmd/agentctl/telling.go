package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"agentd.dev/recorder"
)

// margin is the width of the column that times stand in. Further lines of a
// statement have a bar there, so that none can pass for a verdict.
const (
	margin = "            "
	gutter = "          | "
)

// writeEntry prints one entry: its text, and below it verdict and outcome.
func (a *app) writeEntry(w io.Writer, s *recorder.Transcript, e *recorder.Entry) {
	text := printable(strings.TrimRight(statement(e), " \t\r\n"))
	if e.Kind == "own" { // its first line says what it is for
		text, _, _ = strings.Cut(text, "\n")
	}
	switch {
	case e.Kind != "request":
		text = strings.TrimRight(a.paint(bold, oneLine(e.Kind))+" "+text, " ")
	case text == "":
		text = a.paint(dim, "(empty)")
	}
	fmt.Fprintf(w, "%s  %s\n", a.paint(dim, fmt.Sprintf("%10s", offset(s, e))), indent(text, gutter))
	a.writeAnswer(w, "", &e.Answer)
	if e.Result != nil {
		a.writeAnswer(w, "result ", e.Result)
	}
	for _, c := range e.Columns {
		if c.Masked {
			fmt.Fprintf(w, "%s%s\n", margin, a.paint(yellow, oneLine(column(c))))
		}
	}
	for _, v := range e.Votes {
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(voteStyles[v.What], oneLine(voted(v))))
	}
	for _, r := range e.Rows {
		a.writeRows(w, r, maskedColumns(e))
	}
	a.writeDone(w, e)
}

// writeAnswer prints a verdict with its rule and reason.
func (a *app) writeAnswer(w io.Writer, what string, answer *recorder.Answer) {
	if answer.Verdict == "" {
		return
	}
	line := what + a.paint(verdictStyles[answer.Verdict], oneLine(answer.Verdict))
	if answer.Rule != "" {
		line += " by " + oneLine(answer.Rule)
	}
	for _, why := range []string{named("not understood:", answer.Unclassified), answer.Reason, answer.Hint} {
		if why != "" {
			line += "\n" + margin + "  " + oneLine(why)
		}
	}
	for _, what := range []string{named("limited by", answer.Limited), named("approval", answer.Approval)} {
		if what != "" {
			line += "\n" + margin + "  " + oneLine(what)
		}
	}
	for _, s := range answer.Shadows {
		line += "\n" + margin + "  " + oneLine(s.Rule+", in shadow mode, would say "+s.Verdict)
	}
	for _, rule := range answer.Alerts {
		line += "\n" + margin + "  " + oneLine("alert "+rule)
	}
	fmt.Fprintf(w, "%s%s\n", margin, line)
}

// column names a masked column and what its values became.
func column(c recorder.Column) string {
	as := "NULL"
	if c.As != "" {
		as = fmt.Sprintf("%q", c.As)
	}
	name := c.Column
	for _, outer := range []string{c.Table, c.Schema} {
		if outer != "" {
			name = outer + "." + name
		}
	}
	if c.Searched {
		return "masked what was found in " + name
	}
	if c.Derived {
		name = "a value of " + name
	}
	return fmt.Sprintf("masked %s as %s", name, as)
}

// writeDone prints what a statement came to.
func (a *app) writeDone(w io.Writer, e *recorder.Entry) {
	d := e.Done
	switch {
	case e.Kind == "gap":
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(red, outcome(e)))
	case d == nil && (e.Kind != "request" || e.Verdict == "deny" || e.Verdict == "close"):
	case d == nil:
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(dim, "no outcome was recorded"))
	case d.Skipped:
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(dim, "not run: an earlier error, or the end of the session, came first"))
	case d.Code != "":
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(yellow, joined("error "+d.Code, d.Message, brief(d.Took))))
	default:
		masked := ""
		if d.Masked > 0 {
			masked = plural(d.Masked, "value") + " masked" + by(d.By)
		}
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(dim, joined(d.Tag, plural(d.Rows, "row"), size(d.Bytes), masked, brief(d.Took))))
	}
}

// by tells what was masked, by rule or pattern, the most of it first.
func by(counts map[string]int64) string {
	if len(counts) == 0 {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %d", oneLine(name), counts[name])
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// voteStyles says at a glance what people said.
var voteStyles = map[string]style{"granted": green, "agreed": green, "denied": red}

// voted tells what became of an approval, who said so and why.
func voted(v recorder.Vote) string {
	who := v.By
	for _, more := range []string{named("as", v.As), named("via", v.Via)} {
		if more != "" && who != "" {
			who += ", " + more
		}
	}
	line := "approval " + v.What + " at " + v.Time.UTC().Format("15:04:05")
	if who != "" {
		line += " by " + who
	}
	if v.Reason != "" {
		line += ": " + v.Reason
	}
	return line
}
