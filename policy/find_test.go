package policy_test

import (
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	ways "agentd.dev/decoders/masks"
	"agentd.dev/policy"
)

const finds = `
rules:
  - {name: contact, on: result, do: mask, find: [email, phone], with: "[masked]"}
  - {name: money, on: result, when: login.user == "agent", do: mask, find: [card, {name: badge, re: 'B-[0-9]{6}'}], with: {keep: 4}}
  - {name: gone, on: result, when: workload.namespace == "agents", do: mask, find: [phone]}
  - {name: note, on: result, do: mask, columns: [public.users.note], find: [ip], with: {text: "***"}}
  - {name: mail, on: result, do: mask, columns: [public.users.mail], with: {hash: base32}}
`

// kinds are what a search looks for, each with what becomes of "4111111111111111".
func kinds(s *decoders.Search) (all []string) {
	if s == nil {
		return nil
	}
	for _, k := range s.Kinds {
		as := "NULL"
		if k.Way != nil {
			text, _ := k.Way.Append(nil, []byte("4111111111111111"))
			as = string(text)
		}
		all = append(all, k.Name+" "+as)
	}
	return all
}

func TestALoginSaysWhatItsSessionIsSearchedFor(t *testing.T) {
	e := load(t, finds)
	for _, tt := range []struct {
		user string
		want []string
	}{
		{"agent", []string{"email [masked]", "phone NULL", "card ************1111", "badge ************1111"}},
		{"batch", []string{"email [masked]", "phone NULL"}},
	} {
		v := e.For(orders()).Decide(login(tt.user))
		if v.Outcome != policy.Forward || len(v.Masks) != 1 || v.Masks[0].Index != decoders.EveryColumn || !slices.Equal(kinds(v.Masks[0].Search), tt.want) {
			t.Errorf("%s: got %s with %v, want one mask for %q", tt.user, v.Outcome, v.Masks, tt.want)
		}
	}
	if v := load(t, masks).For(orders()).Decide(login("agent")); len(v.Masks) != 0 {
		t.Errorf("without finds: got %v, want no masks", v.Masks)
	}
}

func TestAColumnIsSearchedForWhatItsRulesAndTheSessionsSay(t *testing.T) {
	r := load(t, finds).For(orders())
	r.Decide(login("batch"))
	v := r.Decide(&decoders.Event{Kind: decoders.Columns, Columns: []decoders.Column{
		{Index: 0, Schema: "public", Table: "users", Name: "note"},
		{Index: 1, Schema: "public", Table: "users", Name: "mail"},
		{Index: 2, Schema: "public", Table: "users", Name: "note", Derived: true},
		{Index: 2, Schema: "public", Table: "users", Name: "mail", Derived: true},
	}})
	if v.Outcome != policy.Rewrite || v.Rule != "note" || len(v.Masks) != 3 {
		t.Fatalf("got %s by %s: %v, want three masks by note", v.Outcome, v.Rule, v.Masks)
	}
	if got, want := kinds(v.Masks[0].Search), []string{"email [masked]", "phone NULL", "ip ***"}; !slices.Equal(got, want) {
		t.Errorf("note is searched for %q, want %q", got, want)
	}
	for _, i := range []int{1, 2} { // a whole mask is stricter than a search
		if _, hash := v.Masks[i].Way.(ways.Hash); !hash || v.Masks[i].Search != nil || v.Masks[i].As != "hash in base32" {
			t.Errorf("column %d: got %+v, want a hash", i, v.Masks[i])
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		r.Decide(&decoders.Event{Kind: decoders.Columns, Columns: []decoders.Column{{Index: 0, Schema: "public", Table: "users", Name: "note"}}})
	}); n > 1 { // the columns of the event itself
		t.Errorf("deciding allocates %v times, want none", n)
	}
}

func TestWantNamesSearchesSoThatChangesShow(t *testing.T) {
	want := load(t, finds).For(orders()).Want()
	if len(want.Searches) != 3 {
		t.Fatalf("got %d searches, want 3: %q", len(want.Searches), want.Searches)
	}
	for _, change := range [][2]string{{`"[masked]"`, `"***"`}, {"B-[0-9]", "C-[0-9]"}, {`"agent"`, `"other"`}, {"[email, phone]", "[email]"}} {
		changed := load(t, strings.Replace(finds, change[0], change[1], 1)).For(orders()).Want()
		same := 0
		for _, s := range changed.Searches {
			if slices.Contains(want.Searches, s) {
				same++
			}
		}
		if same != 2 {
			t.Errorf("%q for %q: %d searches are the same, want 2", change[1], change[0], same)
		}
	}
	if again := load(t, finds).For(orders()).Want(); !slices.Equal(again.Searches, want.Searches) {
		t.Errorf("read again: got %q, want %q", again.Searches, want.Searches)
	}
}

func TestKeysAreAskedForWhenARuleNeedsOne(t *testing.T) {
	for _, tt := range []struct {
		rules string
		asked int
	}{{finds, 1}, {masks, 0}} {
		asked := 0
		_, err := policy.LoadKeyed([]string{file(t, tt.rules)}, protocols, func() (*ways.Key, error) {
			asked++
			return ways.NewKey([]byte("x")), nil
		})
		if err != nil || asked != tt.asked {
			t.Errorf("asked %d times, %v; want %d", asked, err, tt.asked)
		}
	}
}
