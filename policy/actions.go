package policy

import "agentd.dev/decoders"

// An action is what a rule does to the events it matches. Of all rules that
// match, a deny decides before an approve, that before an allow, and an allow
// before the target's default; masks are applied besides, and of those that
// assume a credential the first counts. docs/decisions/0002-rule-order.md.
type action struct {
	name string
	on   decoders.Kinds  // what it can be done to
	keys map[string]bool // of a rule: true if needed
	why  string          // needs those keys and no others
}

const (
	allow = iota
	deny
	mask
	assume
	limit
	approve
	alert
)

var actions = [...]action{
	allow: {
		name: "allow",
		on:   decoders.Login | decoders.Prepare | decoders.Request,
		keys: map[string]bool{"message": false},
		why:  "its message says what it allows, and is told to those that nothing allows",
	},
	deny: {
		name: "deny",
		on:   decoders.Login | decoders.Prepare | decoders.Request | decoders.Cancel,
		keys: map[string]bool{"message": true, "hint": false},
		why:  "its message tells the client what was refused and why, its hint what to do instead",
	},
	mask: {
		name: "mask",
		on:   decoders.Columns,
		keys: map[string]bool{"columns": false, "find": false, "with": false, "predicates": false, "guesses": false, "functions": false},
		why:  "its columns, or what it finds in them or in all, are replaced, and nobody is told",
	},
	assume: {
		name: "assume",
		on:   decoders.Login,
		keys: map[string]bool{"credential": true},
		why:  "its credential is what agentd logs in with in the client's place",
	},
	limit: {
		name: "limit",
		on:   decoders.Login | decoders.Prepare | decoders.Request,
		keys: map[string]bool{"time": false, "writes": false, "rows": false, "bytes": false, "affected": false, "statements": false, "per": false, "by": false, "message": false, "hint": false},
		why:  "it bounds the rows, bytes and affected rows of a request, or all these and statements of a time, per session, workload or user; at the login, the time of each statement and whether any may write",
	},
	approve: {
		name: "approve",
		on:   decoders.Prepare | decoders.Request,
		keys: map[string]bool{"message": false, "hint": false, "need": false, "by": false, "for": false, "expires": false, "inTransaction": false},
		why:  "it holds a request until people have agreed to it; its message tells them why",
	},
	alert: {
		name: "alert",
		on:   decoders.Login | decoders.Prepare | decoders.Request | decoders.Columns | decoders.Cancel,
		keys: map[string]bool{"message": false, "columns": false},
		why:  "people are told, and nothing is decided; its message tells them why",
	},
}

// closed reports whether the action is taken when its condition could not be
// evaluated: what restricts is, what permits is not.
func (a *action) closed() bool { return a != &actions[allow] }

// misplaced says why an action cannot be done to events of these kinds.
func (a *action) misplaced(kinds decoders.Kinds) string {
	switch name := kindName(kinds); {
	case a == &actions[mask]:
		return "mask is for results: write `on: result`"
	case a == &actions[assume]:
		return "assume is for logins: write `on: login`"
	case name == "result":
		return "results can only be masked, or alerted to: write `do: mask`, or judge the request"
	case a == &actions[limit]:
		return "limit is for requests and logins: write `on: request`, or `on: login` for time and writes"
	case a == &actions[approve]:
		return a.name + " is for requests: write `on: request`"
	default:
		return "a " + name + " that no rule denies is let through: write a deny with the opposite condition"
	}
}
