package policy_test

import (
	"errors"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// ledger is what was used, by the names of fields.
type ledger map[string]any

func (l ledger) Counter(name string, _ decoders.Facts) (any, error) {
	if v, ok := l[name]; ok {
		return v, nil
	}
	return nil, errors.New("that is not counted")
}

func TestAVerdictOnWhatWasUsedIsNotRemembered(t *testing.T) {
	e := load(t, `
rules:
  - name: budget
    on: request
    when: '"select" in sql.verbs && usage.hour.rows > 100'
    do: deny
    message: That is enough for now.
  - name: new-table
    on: request
    when: first.table
    do: alert
`)
	s := orders()
	l := ledger{"usage.hour.rows": int64(100), "first.table": false}
	r := e.For(s)
	r.Count(l)
	ev := request(verbs("select"))
	for _, tt := range []struct {
		rows  int64
		first bool
		want  policy.Outcome
	}{{100, false, policy.Forward}, {101, false, policy.Refuse}, {100, true, policy.Forward}, {200, true, policy.Refuse}, {0, false, policy.Forward}} {
		l["usage.hour.rows"], l["first.table"] = tt.rows, tt.first
		v := r.Decide(ev)
		if v.Outcome != tt.want || (len(v.Alerts) == 1) != tt.first {
			t.Errorf("with %d rows, first %t: got %s and alerts %q, want %s", tt.rows, tt.first, v.Outcome, v.Alerts, tt.want)
		}
	}
	r = e.Renew(s, r)
	l["usage.hour.rows"] = int64(101)
	if v := r.Decide(ev); v.Outcome != policy.Refuse {
		t.Errorf("after other rules came: got %s, want deny", v.Outcome)
	}
	if w := r.Want(); len(w.Fields) != 1 || w.Fields[0] != "sql.tables" {
		t.Errorf("decoders are to learn %q, want the tables", w.Fields)
	}
}

func TestWhatWasUsedAndIsNotKnownFailsClosed(t *testing.T) {
	e := load(t, `
rules:
  - {name: budget, on: request, when: usage.day.denials > 5, do: deny, message: Enough.}
`)
	s := orders()
	for name, count := range map[string]func(*policy.Rules){"no counters": func(*policy.Rules) {}, "an error": func(r *policy.Rules) { r.Count(ledger{}) }} {
		r := e.For(s)
		count(r)
		v := r.Decide(request(verbs("select")))
		if v.Outcome != policy.Refuse || !strings.Contains(v.Reason, "could not be evaluated") {
			t.Errorf("%s: got %s (%s), want deny", name, v.Outcome, v.Reason)
		}
	}
}

func TestConditionsOnWhatWasUsedThatCannotHoldAreNamed(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{`{name: a, on: login, when: first.table, do: deny, message: No.}`, "only requests have first.table"},
		{`{name: a, on: login, when: target.name == "x" && first.target, do: assume, credential: ro}`, "a credential is chosen before"},
		{`{name: a, on: result, when: usage.day.rows > 5, do: mask, find: [card]}`, "is settled when a session logs in"},
		{`{name: a, on: request, when: usage.week.rows > 5, do: deny, message: No.}`, "usage.day.rows"},
		{`{name: a, on: request, when: usage.hour.row > 5, do: deny, message: No.}`, `usage.hour.rows`},
		{`{name: a, on: request, when: usage.hour.rows == "5", do: deny, message: No.}`, "does not go with (int, string)"},
		{`{name: a, on: request, when: first.query, do: deny, message: No.}`, "first."},
	} {
		_, err := policy.Load([]string{file(t, "rules:\n  - "+tt.rule+"\n")}, protocols)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.rule, err, tt.want)
		}
	}
}
