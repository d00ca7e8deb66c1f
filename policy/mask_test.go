package policy_test

import (
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	ways "agentd.dev/decoders/masks"
	"agentd.dev/policy"
)

const masks = `
rules:
  - {name: mail, on: result, do: mask, columns: [users.email, '*.contact'], with: "[masked]"}
  - {name: cards, on: result, do: mask, columns: ['billing.cards.*']}
  - {name: batch, on: result, when: login.user == "batch", do: mask, columns: [public.users.name]}
  - {name: stage, on: result, when: target.labels.env == "stage", do: mask, columns: [a.b]}
`

func TestColumnsAreMaskedAsTheRulesSay(t *testing.T) {
	r := load(t, masks).For(orders())
	r.Decide(login("agent"))
	column := func(index int, schema, table, name string) decoders.Column {
		return decoders.Column{Index: index, Schema: schema, Table: table, Name: name}
	}
	for _, tt := range []struct {
		name    string
		columns []decoders.Column
		rule    string
		want    []decoders.Mask
	}{
		{"none", []decoders.Column{column(0, "public", "users", "name")}, "default", nil},
		{"any schema", []decoders.Column{column(1, "s", "users", "email")}, "mail", []decoders.Mask{{Index: 1, Name: "mail", As: "[masked]", Way: ways.Text("[masked]")}}},
		{"any table", []decoders.Column{column(0, "s", "t", "contact")}, "mail", []decoders.Mask{{Index: 0, Name: "mail", As: "[masked]", Way: ways.Text("[masked]")}}},
		{"any column", []decoders.Column{column(0, "billing", "cards", "x")}, "cards", []decoders.Mask{{Index: 0, Name: "cards"}}},
		{"other schema", []decoders.Column{column(0, "archive", "cards", "x")}, "default", nil},
		{"several", []decoders.Column{column(0, "p", "users", "email"), column(2, "billing", "cards", "pan")}, "mail", []decoders.Mask{{Index: 0, Name: "mail", As: "[masked]", Way: ways.Text("[masked]")}, {Index: 2, Name: "cards"}}},
		{"null wins", []decoders.Column{column(3, "billing", "cards", "contact")}, "mail", []decoders.Mask{{Index: 3, Name: "cards"}}},
		{"derived of two", []decoders.Column{column(0, "p", "users", "email"), column(0, "billing", "cards", "pan")}, "mail", []decoders.Mask{{Index: 0, Name: "cards"}}},
		{"out of order", []decoders.Column{column(2, "p", "users", "email"), column(0, "p", "users", "email")}, "mail", []decoders.Mask{{Index: 2, Name: "mail", As: "[masked]", Way: ways.Text("[masked]")}, {Index: 0, Name: "mail", As: "[masked]", Way: ways.Text("[masked]")}}},
		{"derived of a pattern", []decoders.Column{{Index: 1, Schema: "*", Table: "users", Name: "email", Derived: true}}, "mail", []decoders.Mask{{Index: 1, Name: "mail", As: "[masked]", Way: ways.Text("[masked]")}}},
	} {
		v := r.Decide(&decoders.Event{Kind: decoders.Columns, Columns: tt.columns})
		if v.Rule != tt.rule || !slices.Equal(v.Masks, tt.want) || (v.Outcome == policy.Rewrite) != (tt.want != nil) {
			t.Errorf("%s: got %s by %s: %v, want %s: %v", tt.name, v.Outcome, v.Rule, v.Masks, tt.rule, tt.want)
		}
	}
}

func TestWantIsWhatTheSessionsRulesCanUse(t *testing.T) {
	any := func(table, column string) decoders.ColumnName {
		return decoders.ColumnName{Schema: "*", Table: table, Column: column}
	}
	cards := decoders.ColumnName{Schema: "billing", Table: "cards", Column: "*"}
	name := decoders.ColumnName{Schema: "public", Table: "users", Column: "name"}
	e := load(t, masks)
	stage := orders()
	stage.Target.Labels = map[string]string{"env": "stage"}
	for _, tt := range []struct {
		name    string
		engine  *policy.Engine
		session *policy.Session
		kinds   decoders.Kinds
		columns []decoders.ColumnName
	}{
		{"who logs in is not known yet", e, orders(), decoders.Columns, []decoders.ColumnName{any("*", "contact"), any("users", "email"), cards, name}},
		{"a condition on the session holds", e, stage, decoders.Columns, []decoders.ColumnName{any("*", "contact"), any("a", "b"), any("users", "email"), cards, name}},
		{"no masks", load(t, noDrops), orders(), 0, nil},
		{"cancel", load(t, "rules: [{name: c, on: cancel, do: deny, message: No.}]"), orders(), decoders.Cancel, nil},
	} {
		got := tt.engine.For(tt.session).Want()
		if got.Kinds != tt.kinds || !slices.Equal(got.Columns, tt.columns) {
			t.Errorf("%s: got %b %v, want %b %v", tt.name, got.Kinds, got.Columns, tt.kinds, tt.columns)
		}
	}
}

func TestMasksDependOnWhoLogsIn(t *testing.T) {
	e := load(t, masks)
	name := &decoders.Event{Kind: decoders.Columns, Columns: []decoders.Column{{Schema: "public", Table: "users", Name: "name"}}}
	for _, tt := range []struct {
		user string
		want policy.Outcome
	}{{"batch", policy.Rewrite}, {"agent", policy.Forward}} {
		r := e.For(orders())
		r.Decide(login(tt.user))
		if got := r.Decide(name).Outcome; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.user, got, tt.want)
		}
	}
	v := e.For(orders()).Decide(name)
	if v.Outcome != policy.Rewrite || !strings.Contains(v.Reason, "login.user is not known") {
		t.Errorf("before any login: got %s (%s), want %s", v.Outcome, v.Reason, policy.Rewrite)
	}
}
