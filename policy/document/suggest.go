package document

import (
	"fmt"
	"strings"
)

// Suggest returns `; did you mean "x"?` for the one of names that is nearest
// to what was written, or "" if none is near.
func Suggest(written string, names []string) string {
	best, nearest := "", max(2, len(written)/3)+1
	for _, name := range names {
		if d := distance(strings.ToLower(written), strings.ToLower(name)); d < nearest {
			best, nearest = name, d
		}
	}
	if best == "" || nearest >= len(best) {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// Choices is Suggest, but lists all names if none is near.
func Choices(written string, names []string) string {
	if s := Suggest(written, names); s != "" {
		return s
	}
	return ": use " + List(names)
}

// distance is how many letters must be added, removed, replaced or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64 // no name is that long
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

// List writes names as people read them: "a", "b" or "c".
func List(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}
