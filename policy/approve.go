package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"agentd.dev/policy/document"
)

const (
	// maxNeed bounds how many people have to agree.
	maxNeed = 16
	// expiry is how long a request waits when nothing else is said.
	expiry = 5 * time.Minute
	// maxWait bounds how long a request waits, and how long a grant lasts.
	maxWait = 24 * time.Hour
)

// approver reports whether text names a group or, as user:NAME, somebody.
func approver(text string) bool {
	name, given := strings.CutPrefix(text, "user:")
	if !given {
		name, given = strings.CutPrefix(text, "group:")
	}
	return name != "" && len(name) <= 256 && !strings.ContainsFunc(name, unicode.IsSpace) && (given || !strings.Contains(name, ":"))
}

func (t *Terms) readNeed(v document.Value) {
	n, ok := v.Int()
	switch {
	case !ok:
	case n < 1 || n > maxNeed:
		v.Problem("%d people: from 1 to %d", n, maxNeed)
	default:
		t.Need = n
	}
}

// readBy reads who may agree.
func (t *Terms) readBy(v document.Value) {
	n := 0
	v.List(func(v document.Value) {
		n++
		text, ok := v.Text()
		switch {
		case !ok:
		case !approver(text):
			v.Problem("%q is nobody: write a group, as dba, or a user, as user:alice", text)
		case slices.Contains(t.By, text):
			v.Problem("%q again", text)
		default:
			t.By = append(t.By, text)
		}
	})
	if n == 0 && v.IsList() {
		v.Problem("nobody could agree: name groups or users, or leave the key out for whoever may use agentd's socket")
	}
}

func (t *Terms) readFor(v document.Value) {
	var d document.Duration
	document.ReadDuration(&d, time.Second, maxWait)(v)
	t.For = time.Duration(d)
}

func (t *Terms) readExpires(v document.Value) {
	var d document.Duration
	document.ReadDuration(&d, 10*time.Second, maxWait)(v)
	t.Expires = time.Duration(d)
}

func (t *Terms) readOpen(v document.Value) {
	if i, ok := v.Choice([]string{"refuse", "hold"}); ok {
		t.Open = i == 1
	}
}

// advice is what the client of a held request is told to do, "" if nothing.
func (c *candidate) advice() string {
	if c == nil {
		return ""
	}
	return c.hint
}

// asks returns the terms of a rule that matched.
func (c *candidate) asks() Terms {
	t := c.terms
	t.Rule, t.Message = c.name, c.message
	t.Need = max(t.Need, 1)
	if t.Expires == 0 {
		t.Expires = expiry
	}
	if c.truth == fault {
		t.Message = strings.TrimSpace(t.Message + " (" + c.excuse() + ")")
	}
	return t
}

// unclear are the terms under which a request goes on that was not understood.
func unclear(why string) Terms {
	return Terms{
		Rule:    "unclassified",
		Message: fmt.Sprintf("This request was not understood: %s.", strings.TrimSuffix(why, ".")),
		Need:    1,
		Expires: expiry,
	}
}

// together makes one of the terms of several rules: who agrees to it has agreed
// to what each of them wants. It is false if nobody can, because they name
// different people.
func together(all []Terms) (Terms, bool) {
	t := all[0]
	t.By = slices.Clone(t.By)
	for _, other := range all[1:] {
		t.Need = max(t.Need, other.Need)
		t.For = min(t.For, other.For)
		t.Expires = min(t.Expires, other.Expires)
		t.Open = t.Open && other.Open
		if other.Message != "" && !strings.Contains(t.Message, other.Message) {
			t.Message = strings.TrimSpace(t.Message + " " + other.Message)
		}
		switch {
		case len(other.By) == 0:
		case len(t.By) == 0:
			t.By = slices.Clone(other.By)
		default:
			t.By = slices.DeleteFunc(t.By, func(who string) bool { return !slices.Contains(other.By, who) })
			if len(t.By) == 0 {
				return t, false
			}
		}
	}
	return t, true
}

// held is the verdict on a request that goes on when people agree to all.
func held(all []Terms, hint string) Verdict {
	t, ok := together(all)
	if !ok {
		var rules []string
		for _, one := range all {
			rules = append(rules, one.Rule)
		}
		return Verdict{
			Outcome: Refuse, Rule: t.Rule,
			Reason: "Nobody can approve this: the rules " + strings.Join(rules, ", ") + " each want different people.",
			Hint:   "Whoever runs agentd on this node can name somebody who is in all of them.",
		}
	}
	v := Verdict{Outcome: Hold, Rule: t.Rule, Reason: t.Message, Hint: hint, Terms: &t}
	if v.Reason == "" {
		v.Reason = "This needs the approval of a person."
	}
	return v
}
