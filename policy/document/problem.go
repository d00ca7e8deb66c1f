package document

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Problem is one thing wrong with a file, and what to do about it.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0 if the problem is with the file as a whole
	Column  int    `json:"column"` // in characters, from 1
	Message string `json:"message"`
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Errors are all the problems of a set of files, sorted by file and place. It
// is never empty.
type Errors []Problem

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// A Report collects problems, from any number of goroutines. Its zero value is
// empty.
type Report struct {
	mu       sync.Mutex // guards problems
	problems Errors
}

// Add notes a problem.
func (r *Report) Add(p Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, p)
}

// Err returns Errors, or nil if there are none.
func (r *Report) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.problems) == 0 {
		return nil
	}
	sorted := slices.Clone(r.problems)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return sorted
}
