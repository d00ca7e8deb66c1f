package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// shadows writes those of a verdict.
func shadows(v policy.Verdict) string {
	var all []string
	for _, s := range v.Shadows {
		one := s.Rule + " " + s.Outcome.String()
		if s.Columns != nil {
			one += fmt.Sprint(" ", s.Columns)
		}
		all = append(all, one)
	}
	return strings.Join(all, ", ")
}

func TestAShadowSaysWhatWouldHaveBeenOtherwise(t *testing.T) {
	const draft = `
rules:
  - {name: d, on: request, when: sql.opaque, do: deny, message: No., mode: shadow}
  - {name: p, on: request, when: sql.opaque, do: approve, mode: shadow}
  - {name: a, on: request, when: sql.opaque, do: allow, mode: shadow}
`
	for _, tt := range []struct {
		name, force   string
		fall          policy.Default
		kind          decoders.Kinds
		want, shadows string
	}{
		{"allowed by default", "", policy.Allowing, decoders.Request, "allow default", "d deny, p hold"},
		{"allowed by default, prepared", "", policy.Allowing, decoders.Prepare, "allow default", "d deny"},
		{"denied by default", "", policy.Refusing, decoders.Request, "deny default", "p hold, a allow"},
		{"allowed", "do: allow", policy.Refusing, decoders.Request, "allow f", "d deny, p hold"},
		{"held", "do: approve", policy.Refusing, decoders.Request, "hold f", "d deny"},
		{"denied", "do: deny, message: No.", policy.Allowing, decoders.Request, "deny f", ""},
	} {
		rules := draft
		if tt.force != "" {
			rules += "  - {name: f, on: request, " + tt.force + "}\n"
		}
		session := orders()
		session.Target.Default = tt.fall
		f := verbs("select")
		f.m["sql.opaque"] = true
		v := load(t, rules).For(session).Decide(&decoders.Event{Kind: tt.kind, Facts: f})
		if got := v.Outcome.String() + " " + v.Rule; got != tt.want || shadows(v) != tt.shadows {
			t.Errorf("%s: got %s (%s), want %s (%s)", tt.name, got, shadows(v), tt.want, tt.shadows)
		}
		if v := load(t, rules).For(session).Decide(request(verbs("select"))); v.Shadows != nil {
			t.Errorf("%s: got %s where no draft matches, want none", tt.name, shadows(v))
		}
	}
}

func TestAShadowMaskTouchesNothing(t *testing.T) {
	const rules = `
rules:
  - {name: mail, on: result, do: mask, columns: [users.email], mode: %s}
  - {name: cards, on: result, do: mask, find: [card], mode: %[1]s}
  - {name: name, on: result, do: mask, columns: [users.name]}
  - {name: names, on: result, do: mask, columns: [users.name, users.email], mode: %[1]s}
`
	r := load(t, fmt.Sprintf(rules, "shadow")).For(orders())
	w, enforced := r.Want(), load(t, fmt.Sprintf(rules, "enforce")).For(orders()).Want()
	if w.Kinds != enforced.Kinds || fmt.Sprint(w.Columns) != fmt.Sprint(enforced.Columns) {
		t.Errorf("got %+v, want the kinds and columns of %+v", w, enforced)
	}
	result := &decoders.Event{Kind: decoders.Columns, Columns: []decoders.Column{
		{Index: 0, Table: "users", Name: "name"}, {Index: 2, Table: "users", Name: "email"},
	}}
	v := r.Decide(result)
	if len(v.Masks) != 1 || v.Masks[0].Index != 0 || v.Rule != "name" {
		t.Errorf("got %+v, want the one mask that is in force", v)
	}
	if got, want := shadows(v), "mail mask [2], names mask [2]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { r.Decide(result) }); n != 0 {
		t.Errorf("got %v allocations for a result, want 0", n)
	}
	exposing := request(verbs("select"))
	exposing.Exposures = []decoders.Exposure{{Risk: decoders.Decides, What: "WHERE", Columns: []decoders.Column{{Table: "users", Name: "email"}}}}
	v = r.Decide(exposing)
	if got, want := v.Outcome.String()+": "+shadows(v), "allow: mail deny, names deny"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAShadowLimitSaysWhatItWouldHaveStopped(t *testing.T) {
	r := load(t, `
rules:
  - {name: rows, on: request, do: limit, rows: 5, mode: shadow}
  - {name: two, on: request, do: limit, statements: 2, by: session, mode: shadow}
`).For(orders())
	if r.Want().Limits {
		t.Error("the decoder is to limit, though nothing in force does")
	}
	for seq, want := range []string{"", "", "two deny", "two deny"} {
		ev := request(verbs("select"))
		ev.Seq = uint64(seq + 1)
		v := r.Decide(ev)
		if v.Outcome != policy.Forward || v.Limits != nil || shadows(v) != want {
			t.Errorf("request %d: got %s, limits %v, shadows %q, want it let through, without limits, and %q", ev.Seq, v.Outcome, v.Limits, shadows(v), want)
		}
		outcome := &decoders.Event{Kind: decoders.Outcome, Seq: ev.Seq, Result: decoders.Result{Rows: int64(4 + seq)}}
		r.Told(outcome)
		if got, want := fmt.Sprint(outcome.Result.Over), "[]"; (got != want) != (seq >= 2) {
			t.Errorf("request %d returned %d rows: got %s over", ev.Seq, 4+seq, got)
		}
	}
}

func TestARuleInShadowModeHelpsNobody(t *testing.T) {
	session := orders()
	session.Target.Default = policy.Refusing
	e := load(t, `
rules:
  - {name: reads, on: request, do: allow, message: Reading., mode: shadow}
  - {name: as, on: login, do: assume, credential: rw, mode: shadow}
`)
	r := e.For(session)
	if name, _, err := r.Credential(); name != "" || err != nil {
		t.Errorf("got credential %q, %v, want none", name, err)
	}
	if v := r.Decide(login("agent")); shadows(v) != "as allow" {
		t.Errorf("login: got %q, want what would have been assumed", shadows(v))
	}
	if v := r.Decide(request(verbs("select"))); strings.Contains(v.Hint, "Reading") || v.Outcome != policy.Refuse {
		t.Errorf("got %s, hint %q, want a refusal that does not promise it", v.Outcome, v.Hint)
	}
}

func TestAlertsAreBesideTheVerdict(t *testing.T) {
	e := load(t, `
rules:
  - {name: logins, on: login, when: login.user == "root", do: alert, message: Somebody is root.}
  - {name: drops, on: request, when: '"drop" in sql.verbs', do: alert}
  - {name: no-drops, on: request, when: '"drop" in sql.verbs && sql.statements > 1', do: deny, message: No.}
  - {name: cancels, on: cancel, do: alert}
  - {name: mails, on: result, do: alert, columns: [users.email]}
  - {name: results, on: result, do: alert}
`)
	r := e.For(orders())
	if w := r.Want(); w.Kinds&decoders.Columns == 0 || len(w.Columns) != 1 {
		t.Errorf("got %+v, want results with the alert's column", w)
	}
	result := func(column string) *decoders.Event {
		return &decoders.Event{Kind: decoders.Columns, Columns: []decoders.Column{{Table: "users", Name: column}}}
	}
	strange := &decoders.Event{Kind: decoders.Request, Facts: verbs("drop"), Unclassified: "odd"}
	for _, tt := range []struct {
		ev   *decoders.Event
		want string
	}{
		{login("root"), "allow [logins]"},
		{login("agent"), "allow []"},
		{request(verbs("drop")), "allow [drops]"},
		{request(verbs("drop", "x")), "deny [drops]"},
		{prepare(verbs("drop")), "allow []"}, // told when it runs
		{prepare(verbs("drop", "x")), "deny [drops]"},
		{request(verbs("select")), "allow []"},
		{strange, "deny [drops]"},
		{&decoders.Event{Kind: decoders.Cancel}, "allow [cancels]"},
		{result("email"), "allow [mails results]"},
		{result("name"), "allow [results]"},
	} {
		v := r.Decide(tt.ev)
		if got := fmt.Sprint(v.Outcome, " ", v.Alerts); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.ev.Kind, got, tt.want)
		}
	}
}
