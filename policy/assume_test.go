package policy_test

import (
	"strings"
	"testing"
)

func TestTheFirstRuleThatMatchesSaysWhatToLogInWith(t *testing.T) {
	e := load(t, `
rules:
  - {name: writers, on: login, when: 'workload.name == "etl"', do: assume, credential: orders-rw}
  - {name: reports, on: login, when: 'workload.name.startsWith("report")', do: assume, credential: orders-ro}
  - {name: orders, on: login, when: 'target.name == "orders" && workload.name != "nobody"', do: assume, credential: orders-any}
  - {name: broken, on: login, when: 'workload.name == "odd" && workload.pid / (workload.pid - workload.pid) == 1', do: assume, credential: x}
  - {name: no-admin, on: login, when: 'login.user == "admin"', do: deny, message: Not as an administrator.}
`)
	for _, tt := range []struct{ workload, target, credential, rule, err string }{
		{"etl", "orders", "orders-rw", "writers", ""},
		{"reporter", "orders", "orders-ro", "reports", ""},
		{"reporter", "other", "orders-ro", "reports", ""},
		{"x", "orders", "orders-any", "orders", ""},
		{"x", "other", "", "", ""},
		{"nobody", "orders", "", "", ""},
		{"odd", "orders", "orders-any", "orders", ""}, // the broken rule comes later
		{"odd", "other", "", "broken", "could not be evaluated"},
	} {
		s := orders()
		s.Identity.Workload, s.Target.Name = tt.workload, tt.target
		r := e.For(s)
		name, rule, err := r.Credential()
		if name != tt.credential || rule != tt.rule || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s to %s: got %q by %q, %v, want %q by %q, %q", tt.workload, tt.target, name, rule, err, tt.credential, tt.rule, tt.err)
		}
		if v := r.Decide(login("admin")); v.Rule != "no-admin" {
			t.Errorf("%s as admin: got %s, want it denied", tt.workload, v.Rule)
		}
		if v := r.Decide(login("reader")); v.Outcome.String() != "allow" {
			t.Errorf("%s as reader: got %s, want it allowed: assume judges nothing", tt.workload, v.Rule)
		}
	}
}

func TestCredentialsThatNobodyHasAreNamed(t *testing.T) {
	e := load(t, `
rules:
  - {name: writers, on: login, do: assume, credential: orders-rw}
  - {name: readers, on: login, do: assume, credential: orders-ro}
`)
	if err := e.Lacking([]string{"orders-ro", "orders-rw"}); err != nil {
		t.Errorf("got %v, want nothing to be missing", err)
	}
	err := e.Lacking([]string{"orders-ro"})
	if err == nil || !strings.Contains(err.Error(), `:3:12: rule "writers" assumes credential "orders-rw", which the configuration does not have; did you mean "orders-ro"?`) {
		t.Errorf("got %v, want the rule, its place and what is missing", err)
	}
}
