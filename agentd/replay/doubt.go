package replay

import (
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// facts are those of an event, and note what was asked that the record does not
// have. They implement decoders.Facts.
type facts struct {
	*recorder.Facts
	session   *session
	exposures []decoders.Exposure
	assumed   bool   // it was asked for what is assumed
	lacking   string // the first that was asked and is not there
}

// factsOf returns the same for the same: verdicts are remembered by it.
func (s *session) factsOf(f *recorder.Facts) *facts {
	if f == nil {
		return nil
	}
	found := s.facts[f]
	if found == nil {
		found = &facts{Facts: f, session: s, exposures: f.Exposed()}
		s.facts[f] = found
	}
	return found
}

// Field implements decoders.Facts.
func (f *facts) Field(name string) any {
	if v := f.Facts.Field(name); v != nil {
		return v
	}
	if !slices.Contains(f.session.of.Learned, name) {
		if list, ok := assumed(f.Facts, name, f.session.replay.options.Schema); ok {
			f.assumed = true
			return list
		}
	}
	if f.lacking == "" && (f.Lacks(name) || f.session.replay.learned[name] && !slices.Contains(f.session.of.Learned, name)) {
		f.lacking = name
	}
	return nil
}

// doubt says why a verdict is not what the rules would have said, for all that
// can be told, "" if it is.
func (s *session) doubt(e *recorder.Event, v *policy.Verdict, f *facts) string {
	switch {
	case f != nil && f.lacking != "":
		return "a rule asks for " + f.lacking + ", which was not recorded with it"
	case s.login != nil && s.login.lacking != "":
		return "a rule asks for " + s.login.lacking + ", which was not recorded of the login"
	case s.counters.lacking != "":
		return "a rule asks for " + s.counters.lacking + ", which is not known of the time before the record"
	case e.ClaimsCut && s.replay.engine.Relies():
		return "a rule asks for claims, which are not recorded of a statement with literals that are to stay out of records"
	case s.of.Unsaid:
		return "what its decoder looked for was too long to be recorded"
	case e.Unclassified != "" && (len(s.want.Searches) > 0) != (len(s.of.Searches) > 0):
		return "whether it is understood depends on whether values are searched"
	case v.Outcome == policy.Refuse || v.Outcome == policy.Close:
		return ""
	case len(s.want.Columns) > 0 && f != nil && f.Lacks("exposures"):
		return "how it could show protected values was too long to be recorded"
	case v.Limits != nil && v.Limits.Affected.Set() && e.Limited == "" && !strings.HasPrefix(e.Reason, policy.BeyondLimits) && writes(f):
		return "whether the rows that it changes can be limited is known only when it is tried"
	case s.bounds.Writes.Set() && (e.Kind == "prepare" || e.Kind == "request") && writes(f):
		return "whether it writes is for the server to say, which would have been told that nothing may"
	case s.want.Bounds && !s.of.Bounds && mayLoosen(e, f):
		return "whether it changes the limits of its session was not looked at when it was recorded"
	case e.Kind == "prepare" || e.Kind == "request":
		return s.unwatched(f)
	}
	return ""
}

// unwatched says which columns a statement may show that the rules mask and
// that nobody looked for when it was recorded.
func (s *session) unwatched(f *facts) string {
	if len(s.want.Searches) > 0 && !all(s.want.Searches, s.of.Searches) {
		s.replay.report.Searched++
	}
	for _, c := range s.want.Columns {
		if slices.Contains(s.of.Watched, recorder.Naming{c.Schema, c.Table, c.Column}) || !mayTouch(f, c) {
			continue
		}
		return "it may use " + strings.TrimPrefix(c.Schema+".", "*.") + c.Table + "." + c.Column + ", for which nobody looked when it was recorded"
	}
	return ""
}

// mayTouch reports whether a statement may use a column.
func mayTouch(f *facts, c decoders.ColumnName) bool {
	if f == nil {
		return true
	}
	tables, known := f.Facts.Field("sql.tables").([]string)
	if !known { // it may be a view, or a table by another name
		read, _ := f.Facts.Field("sql.names_read").([]string)
		written, _ := f.Facts.Field("sql.names_written").([]string)
		functions, ok := f.Facts.Field("sql.functions").([]string)
		return len(read)+len(written)+len(functions) > 0 || !ok
	}
	if volatile, known := f.Facts.Field("sql.volatile").(bool); volatile || !known {
		return true
	}
	return slices.ContainsFunc(tables, func(t string) bool {
		schema, table, _ := strings.Cut(t, ".")
		return (c.Table == "*" || c.Table == table) && (c.Schema == "*" || c.Schema == schema || schema == "?")
	})
}

// mayLoosen reports whether an event may change settings of its session, or end
// what keeps them.
func mayLoosen(e *recorder.Event, f *facts) bool {
	if e.Kind != "prepare" && e.Kind != "request" {
		return false
	}
	if f == nil {
		return true
	}
	sets, _ := f.Facts.Field("sql.sets").([]string)
	functions, known := f.Facts.Field("sql.functions").([]string)
	verbs, _ := f.Facts.Field("sql.verbs").([]string)
	plain := []string{"select", "insert", "update", "delete", "merge", "values", "table", "show"}
	return !known || len(sets)+len(functions) > 0 || !all(verbs, plain)
}

// writes reports whether a statement may change rows, or what cannot be counted.
func writes(f *facts) bool {
	if f == nil {
		return true
	}
	verbs, _ := f.Facts.Field("sql.verbs").([]string)
	return !slices.Equal(verbs, []string{"select"})
}

func all(these, in []string) bool {
	return !slices.ContainsFunc(these, func(s string) bool { return !slices.Contains(in, s) })
}
