package policy_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

func TestConditionsGiveClues(t *testing.T) {
	const lists = "lists: {harm: [drop, truncate]}\nmacros: {harm: 'sql.verbs.exists(v, v in lists.harm)'}\n"
	for _, tt := range []struct {
		when string
		want bool
	}{
		{`sql.verbs.exists(v, v in ["drop", "truncate"])`, true},
		{`sql.verbs.exists(v, v == "drop" || v.startsWith("alter"))`, true},
		{`sql.verbs.exists(v, v in lists.harm)`, true},
		{`macros.harm`, true},
		{`!macros.harm`, false},
		{`"drop" in sql.verbs`, true},
		{`sql.normalized == "drop" && sql.opaque`, true},
		{`sql.opaque && "x" == sql.normalized`, true},
		{`sql.normalized in ["a", "b"] || "c" in sql.verbs`, true},
		{`sql.normalized.startsWith("drop")`, true},
		{`sql.normalized.startsWith("")`, false},
		{`sql.normalized == "drop" || sql.opaque`, false},
		{`sql.normalized != "drop"`, false},
		{`sql.normalized in []`, false},
		{`sql.verbs.all(v, v == "drop")`, false},
		{`sql.verbs.exists_one(v, v == "drop")`, false},
		{`sql.verbs.exists(v, v != "drop")`, false},
		{`sql.verbs.exists(v, sql.normalized == v)`, false},
		{`sql.verbs.exists(v, sql.normalized == "x")`, true},
		{`sql.opaque ? sql.normalized == "x" : true`, false},
		{`["drop"].exists(v, v in sql.verbs)`, false},
		{`login.user == "x"`, false},
		{`sql.statements == 3`, false},
	} {
		e := load(t, lists+"rules: [{name: r, on: request, do: deny, message: No., when: "+yamlQuote(tt.when)+"}]")
		if got := len(e.For(orders()).Clued()) == 1; got != tt.want {
			t.Errorf("%s: got clues: %t, want %t", tt.when, got, tt.want)
		}
	}
}

// Whatever the rules and the events: with the index each event gets the verdict
// that it gets without.
func TestTheIndexChangesNoVerdict(t *testing.T) {
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 1))
		rules := randomRules(random)
		e := load(t, rules)
		session := orders()
		session.Target.Default = policy.Default(random.IntN(2))
		session.Target.Unclassified = policy.Default(random.IntN(3))
		indexed, plain := e.For(session), e.For(session)
		plain.Unindex()
		for range 200 {
			ev := randomEvent(random)
			got, want := indexed.Decide(ev), plain.Decide(ev)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\n%s %+v: got %+v, want %+v", rules, ev.Kind, ev.Facts, got, want)
			}
		}
	}
}

var fewWords = []string{"a", "b", "c", "ab", "abc", "ba", ""}

func word(random *rand.Rand) string { return fewWords[random.IntN(len(fewWords))] }

// randomRules are rules of all kinds, with conditions of few words.
func randomRules(random *rand.Rand) string {
	var b strings.Builder
	b.WriteString("lists: {l: [a, abc], m: [b]}\nmacros: {m: 'sql.verbs.exists(v, v in lists.l)'}\nrules:\n")
	for i := range 5 + random.IntN(100) {
		do := []string{
			"do: deny, message: No.", "do: allow", "do: approve", "do: alert",
			"do: deny, message: No., mode: shadow", "do: approve, mode: shadow", "do: limit, rows: 3",
		}[random.IntN(7)]
		fmt.Fprintf(&b, "  - {name: r%d, on: request, %s, when: %s}\n", i, do, yamlQuote(randomCondition(random, 3)))
	}
	return b.String()
}

func randomCondition(random *rand.Rand, depth int) string {
	if depth > 0 {
		switch left := random.IntN(6); left {
		case 0, 1:
			return "(" + randomCondition(random, depth-1) + " && " + randomCondition(random, depth-1) + ")"
		case 2, 3:
			return "(" + randomCondition(random, depth-1) + " || " + randomCondition(random, depth-1) + ")"
		}
	}
	w, x := fmt.Sprintf("%q", word(random)), fmt.Sprintf("%q", word(random))
	leaves := []string{
		"sql.normalized == " + w, "sql.normalized in [" + w + ", " + x + "]", "sql.normalized.startsWith(" + w + ")",
		"sql.verbs.exists(v, v == " + w + ")", "sql.verbs.exists(v, v in [" + w + ", " + x + "])",
		"sql.verbs.exists(v, v.startsWith(" + w + ") || v == " + x + ")", w + " in sql.verbs", "macros.m", "sql.normalized in lists.m",
		"sql.verbs.exists(v, v == " + w + " && sql.verbs[1] == " + x + ")", "sql.verbs[1] == " + w, "sql.opaque", "!sql.opaque",
		"portal.name == " + w, "sql.normalized != " + w, "login.user == " + w, "sql.statements > 1",
	}
	return leaves[random.IntN(len(leaves))]
}

// randomEvent has facts of which any may be missing.
func randomEvent(random *rand.Rand) *decoders.Event {
	ev := &decoders.Event{Kind: []decoders.Kinds{decoders.Request, decoders.Prepare, decoders.Request, decoders.Login}[random.IntN(4)]}
	if ev.Kind == decoders.Login {
		ev.Facts = user(word(random))
		return ev
	}
	if random.IntN(10) == 0 {
		ev.Unclassified = "odd"
	}
	f := &facts{map[string]any{}}
	list := []string{}
	for range random.IntN(3) {
		list = append(list, word(random))
	}
	for name, value := range map[string]any{
		"sql.verbs": list, "sql.normalized": word(random), "sql.statements": int64(len(list)),
		"sql.opaque": len(list) == 1, "portal.name": word(random),
	} {
		if ev.Facts = f; random.IntN(12) > 0 {
			f.m[name] = value
		}
	}
	if random.IntN(30) == 0 {
		f.m["sql.normalized"] = strings.Repeat("a", 300<<10)
	}
	if random.IntN(30) == 0 {
		ev.Facts = nil
	}
	return ev
}
