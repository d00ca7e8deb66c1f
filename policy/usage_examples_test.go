package policy_test

import (
	"maps"
	"strings"
	"testing"

	"agentd.dev/policy"
)

func TestExamplesOfBudgetsAndDriftJudgeWhatWasUsed(t *testing.T) {
	usual := ledger{}
	for _, u := range policy.Usages() {
		if usual[u[0]] = int64(0); u[1] == "bool" {
			usual[u[0]] = false
		}
	}
	usual["usage.typical.rows"] = int64(1 << 52)
	const budgets, drift = "../deploy/policies/budgets.yaml", "../deploy/policies/drift.yaml"
	for _, tt := range []struct {
		file, text, used string
		n                any
		want             string
	}{
		{budgets, "select 1", "usage.day.rows", int64(1_000_000), "default"},
		{budgets, "select 1", "usage.day.rows", int64(1_000_001), "row-budget"},
		{budgets, "insert into orders values (1)", "usage.day.rows", int64(1_000_001), "default"},
		{budgets, "select 1", "usage.hour.tables", int64(41), "many-tables"},
		{budgets, "select 1", "usage.minute.denials", int64(21), "keeps-trying"},
		{budgets, "select 1", "usage.hour.denials", int64(21), "default keeps-trying-is-told"},
		{drift, "select 1", "first.target", true, "default new-target-or-program"},
		{drift, "select 1", "first.program", true, "default new-target-or-program"},
		{drift, "select 1", "first.table", true, "default new-table"},
		{drift, "select 1", "first.verb", true, "default"},
		{drift, "delete from orders", "first.verb", true, "new-way-to-write"},
		{drift, "select 1", "usage.hour.rows", int64(20_000), "default"},
		{drift, "select 1", "usage.typical.rows", int64(100), "default"},
	} {
		used := maps.Clone(usual)
		used[tt.used] = tt.n
		r := example(t, tt.file).For(orders())
		r.Count(used)
		v := r.Decide(request(understood(t, tt.text)))
		if got := strings.Join(append([]string{v.Rule}, v.Alerts...), " "); got != tt.want {
			t.Errorf("%s with %s %v: got %q, want %q", tt.text, tt.used, tt.n, got, tt.want)
		}
	}
	usual["usage.typical.rows"], usual["usage.hour.rows"] = int64(1500), int64(15_001)
	r := example(t, drift).For(orders())
	r.Count(usual)
	if v := r.Decide(request(understood(t, "select 1"))); len(v.Alerts) != 1 || v.Alerts[0] != "unusual-volume" {
		t.Errorf("ten times the usual: got alerts %q, want unusual-volume", v.Alerts)
	}
}
