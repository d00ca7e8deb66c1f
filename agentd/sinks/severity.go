package sinks

import (
	"cmp"
	"fmt"
	"strings"
)

// A grade is how much a record matters.
type grade uint8

const (
	routine grade = iota
	notable       // masked, held, a note
	warning       // refused, unclassified, an alert, what was interrupted
	trouble       // records are missing
)

// gradeOf is how much a record matters.
func gradeOf(r *Record) grade {
	switch {
	case r.Type == "gap":
		return trouble
	case r.Verdict == "deny" || r.Verdict == "close" || r.Unclassified != "" || len(r.Alerts) > 0:
		return warning
	case r.Type == "recovered" || r.Type == "interrupted":
		return warning
	case r.Verdict == "mask" || r.Verdict == "hold" || r.Approval != "" || r.Type == "note" || r.Code != "":
		return notable
	}
	return routine
}

// summary is a record in a line, without the statement.
func summary(r *Record) string {
	var b strings.Builder
	b.WriteString(cmp.Or(r.Verdict, r.Type))
	if r.Verdict != "" {
		fmt.Fprintf(&b, " %s", r.Type)
	}
	if s := r.Session; s != nil {
		fmt.Fprintf(&b, " of %s to %s", s.Workload, s.Target)
		if s.User != "" {
			fmt.Fprintf(&b, " as %s", s.User)
		}
	}
	if r.Rule != "" {
		fmt.Fprintf(&b, " by rule %s", r.Rule)
	}
	switch {
	case r.Type == "note":
		fmt.Fprintf(&b, " (%s): %s", r.Kind, r.Text)
	case r.Type == "outcome" && r.Code != "":
		fmt.Fprintf(&b, ": error %s", r.Code)
	case r.Type == "outcome":
		fmt.Fprintf(&b, ": %d rows, %d changed, %v", r.Rows, r.Affected, r.Took)
	}
	return b.String()
}
