package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"agentd.dev/recorder"
)

const (
	shownRows  = 20 // of a result, in a terminal
	shownWidth = 40 // of a value
)

// maskedColumns are those that were, of the only result of an entry: of several,
// nobody can tell which it was.
func maskedColumns(e *recorder.Entry) map[int]bool {
	masked := map[int]bool{}
	for _, c := range e.Columns {
		if c.Masked && len(e.Rows) == 1 {
			masked[c.Index] = true
		}
	}
	return masked
}

// writeRows prints rows of a result as a table, as the client saw them. Each
// value is one line of it, whatever it holds.
func (a *app) writeRows(w io.Writer, r *recorder.Rows, masked map[int]bool) {
	var grid [][]cell
	if len(r.Columns) > 0 {
		head := make([]cell, len(r.Columns))
		for i, name := range r.Columns {
			head[i] = cell{value(name), bold}
			if masked[i] {
				head[i] = cell{value(name) + " (masked)", yellow}
			}
		}
		grid = append(grid, head)
	}
	for _, row := range r.Rows[:min(len(r.Rows), shownRows)] {
		line := make([]cell, len(row))
		for i, v := range row {
			switch {
			case v == nil:
				line[i] = cell{"NULL", dim}
			case masked[i]:
				line[i] = cell{value(*v), yellow}
			default:
				line[i] = cell{text: value(*v)}
			}
		}
		grid = append(grid, line)
	}
	var widths []int
	for _, line := range grid {
		for i, c := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, line := range grid {
		fmt.Fprintf(w, "%s%s\n", gutter+"  ", a.gridLine(line, widths))
	}
	for _, note := range rowNotes(r) {
		fmt.Fprintf(w, "%s  %s\n", gutter, a.paint(dim, note))
	}
}

// gridLine puts the cells of a line side by side, up to the end of the terminal.
func (a *app) gridLine(line []cell, widths []int) string {
	var b strings.Builder
	room := a.outWidth - len(gutter) - 2
	for i, c := range line {
		if a.outWidth > 0 && room < widths[i] {
			b.WriteString("…")
			break
		}
		b.WriteString(a.paint(c.style, c.text))
		if i < len(line)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
		}
		room -= widths[i] + 2
	}
	return strings.TrimRight(b.String(), " ")
}

// value is a value in its place in a table.
func value(s string) string { return cut(oneLine(s), shownWidth) }

// rowNotes say what is not shown of a result.
func rowNotes(r *recorder.Rows) (notes []string) {
	if more := len(r.Rows) - shownRows; more > 0 {
		notes = append(notes, fmt.Sprintf("and %s more in the record", plural(more, "row")))
	}
	switch r.Cut {
	case "":
	case "limit":
		notes = append(notes, "further rows are not recorded: they are beyond the limit")
	case "value":
		notes = append(notes, "of the last value only the front is recorded")
	default:
		notes = append(notes, "what followed is not recorded: "+oneLine(r.Cut))
	}
	if r.Withheld > 0 {
		notes = append(notes, plural(r.Withheld, "secret")+" withheld from the record")
	}
	return notes
}
