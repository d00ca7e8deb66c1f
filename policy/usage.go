package policy

import (
	"errors"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"agentd.dev/decoders"
	"agentd.dev/policy/document"
)

// usages are what conditions can ask about what the workload of a session has
// done before, at the session's target. They change with every statement, so
// that no verdict that depends on them is remembered.
var usages = []struct {
	name string
	typ  *cel.Type
	doc  string
}{
	{"usage.minute.statements", cel.IntType, "statements that were let through"},
	{"usage.minute.rows", cel.IntType, "rows that they returned or copied"},
	{"usage.minute.bytes", cel.IntType, "bytes of those rows"},
	{"usage.minute.affected", cel.IntType, "rows that they changed"},
	{"usage.minute.denials", cel.IntType, "logins, statements and cancels that were refused"},
	{"usage.minute.tables", cel.IntType, "different tables"},
	{"usage.hour.statements", cel.IntType, "as those of a minute; so are the rest"},
	{"usage.hour.rows", cel.IntType, ""},
	{"usage.hour.bytes", cel.IntType, ""},
	{"usage.hour.affected", cel.IntType, ""},
	{"usage.hour.denials", cel.IntType, ""},
	{"usage.hour.tables", cel.IntType, ""},
	{"usage.day.statements", cel.IntType, ""},
	{"usage.day.rows", cel.IntType, ""},
	{"usage.day.bytes", cel.IntType, ""},
	{"usage.day.affected", cel.IntType, ""},
	{"usage.day.denials", cel.IntType, ""},
	{"usage.day.tables", cel.IntType, ""},
	{"usage.typical.statements", cel.IntType, "of an hour, the median of those with statements; 2^52 before there were eight"},
	{"usage.typical.rows", cel.IntType, ""},
	{"usage.typical.bytes", cel.IntType, ""},
	{"usage.typical.affected", cel.IntType, ""},
	{"usage.typical.denials", cel.IntType, ""},
	{"first.target", cel.BoolType, "nothing of this workload was let through to this target before"},
	{"first.program", cel.BoolType, "nor by this program (workload.exe) to any"},
	{"first.verb", cel.BoolType, "nor with one of these sql.verbs to this target; of requests only"},
	{"first.table", cel.BoolType, "nor with one of these sql.tables; of requests only"},
}

// ofTables are those that it takes sql.tables to know.
var ofTables = []string{"usage.minute.tables", "usage.hour.tables", "usage.day.tables", "first.table"}

// ofRequests are those that only requests have.
var ofRequests = []string{"first.table", "first.verb"}

// tables is the field that tables are known by.
const tables = "sql.tables"

// counted reports whether a name is one of usages.
func counted(name string) bool {
	for i := range usages {
		if usages[i].name == name {
			return true
		}
	}
	return false
}

// counted reports whether a condition asks for what was used.
func (r *reading) counted() bool {
	for _, m := range r.mentions {
		if counted(m.path) {
			return true
		}
	}
	return false
}

// requested reports whether a condition asks for what only requests have.
func (r *reading) requested() bool {
	return slices.ContainsFunc(r.mentions, func(m mention) bool { return slices.Contains(ofRequests, m.path) })
}

// asksOfRequests reports a condition on what only requests have, of a rule on
// something else.
func (r *rule) asksOfRequests(when document.Value) {
	if r.when != nil && r.when.requested && r.on&(decoders.Prepare|decoders.Request) == 0 {
		when.Problem("only requests have first.table and first.verb: write `on: request`, or ask for first.target or first.program")
	}
}

// Counters tell what a session's workload has done before.
type Counters interface {
	// Counter returns the value of one of the fields usage.* and first.*, an
	// int64 or bool, for an event with these facts. An error is why it is not
	// known. It does not block.
	Counter(name string, facts decoders.Facts) (any, error)
}

// Count has conditions ask c from now on. Without, nothing is known of what was
// used.
func (r *Rules) Count(c Counters) { r.scope.counters = c }

var errNotCounted = errors.New("what was used before is not known here")

// A ledger is what was used before an event.
type ledger struct {
	counters Counters // nil: it is not known
	counted  bool     // somebody wanted to know
}

// look returns what one of usages is for an event. Before there is one it is not
// known yet.
func (l *ledger) look(name string, s *scope) (value any, ok bool) {
	switch {
	case !counted(name):
		return nil, false
	case !s.inEvent:
		return types.NewUnknown(0, nil), true
	}
	l.counted = true
	if l.counters == nil {
		return types.WrapErr(errNotCounted), true
	}
	v, err := l.counters.Counter(name, s.event)
	if err != nil {
		return types.WrapErr(err), true
	}
	return v, true
}
