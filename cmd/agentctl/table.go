package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A style is how a text looks on a terminal; the number is its SGR code.
type style int

const (
	plain  style = 0
	bold   style = 1
	dim    style = 2
	red    style = 31
	green  style = 32
	yellow style = 33
)

// verdictStyles says at a glance what a verdict did.
var verdictStyles = map[string]style{"allow": green, "deny": red, "close": red, "mask": yellow, "hold": yellow}

// paint returns s, which must be printable, in a style, if there is colour.
func (a *app) paint(st style, s string) string {
	if !a.colour || st == plain || s == "" {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", st, s)
}

// A cell is one field of a table, from any source: it is made printable.
type cell struct {
	text  string
	style style
}

// A table is rows under a heading.
type table struct {
	head []string
	rows [][]cell
}

// add adds a row of plain texts; style the returned cells as wanted.
func (t *table) add(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, text := range texts {
		row[i].text = text
	}
	t.rows = append(t.rows, row)
	return row
}

// write prints t. On a terminal the last column is cut where the line ends.
func (a *app) write(t *table) {
	widths := make([]int, len(t.head))
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{h, bold}
		widths[i] = len(h)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i].text = oneLine(row[i].text)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	a.writeRow(a.out, head, widths)
	for _, row := range t.rows {
		a.writeRow(a.out, row, widths)
	}
}

// writeRow prints one row, its columns two spaces apart.
func (a *app) writeRow(w io.Writer, row []cell, widths []int) {
	var line strings.Builder
	used, last := 0, len(row)-1
	for i, c := range row[:last] {
		pad := widths[i] - utf8.RuneCountInString(c.text) + 2
		line.WriteString(a.paint(c.style, c.text) + strings.Repeat(" ", pad))
		used += widths[i] + 2
	}
	text := row[last].text
	if a.outWidth > 0 {
		text = cut(text, max(a.outWidth-used, 10))
	}
	line.WriteString(a.paint(row[last].style, text))
	fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
}
