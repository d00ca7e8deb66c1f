package policy

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"agentd.dev/decoders"
)

// A plan is the rules that sessions of one kind can meet. It never changes, and
// is shared by them.
type plan struct {
	all []candidate
	// early are those that are open and ask about the login, by their place.
	early   []int
	pools   [16]pool          // by the bit of the kind
	allowed map[string]string // what is allowed of such events, by their name
}

// A candidate is a rule that may match.
type candidate struct {
	*rule
	program program
	truth   truth // open, yes or fault; no only after a login
	err     error // with fault
	late    int   // its place in plan.early, from 1; 0 if it is not there
}

// maxFolded is how many kinds of sessions the engine remembers.
const maxFolded = 256

// plan returns the plan for a session of these values. Sessions that differ in
// nothing that rules ask about share it.
func (e *Engine) plan(s *scope) *plan {
	key := e.key(s)
	e.mu.Lock()
	found, ok := e.folded[key]
	e.mu.Unlock()
	if ok {
		return found
	}
	all := make([]candidate, 0, len(e.rules))
	for _, r := range e.rules {
		c := candidate{rule: r, truth: open}
		if r.when == nil {
			c.truth = yes
		} else if !c.choose(s) || !c.decide(s) {
			continue
		}
		all = append(all, c)
	}
	found = newPlan(all)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.folded) >= maxFolded {
		clear(e.folded)
	}
	e.folded[key] = found
	return found
}

// key tells apart the sessions that rules may tell apart.
func (e *Engine) key(s *scope) string {
	key := []byte(s.language.name)
	for _, i := range e.reads {
		if l, ok := s.values[i].(labels); ok {
			key = fmt.Appendf(key, "\x00%q", l.Value()) // maps are printed sorted
			continue
		}
		key = fmt.Appendf(key, "\x00%q", s.values[i])
	}
	return string(key)
}

func newPlan(all []candidate) *plan {
	p := &plan{all: all, allowed: map[string]string{}}
	for i := range all {
		if c := &all[i]; c.truth == open && c.program.early {
			p.early = append(p.early, i)
			c.late = len(p.early)
		}
	}
	for kinds := judged; kinds != 0; kinds &= kinds - 1 {
		bit := bits.TrailingZeros16(uint16(kinds))
		var members []int
		for i := range all {
			if all[i].judges(1 << bit) {
				members = append(members, i)
			}
		}
		p.pools[bit] = newPool(members, all)
	}
	for _, e := range events {
		p.allowed[e.name] = allowed(all, e.kinds)
	}
	return p
}

func (c *candidate) judges(kind decoders.Kinds) bool {
	return c.on&kind != 0 && (c.when == nil || c.program.kinds&kind != 0)
}

// choose takes the program for a session. It is false if the rule cannot match.
func (c *candidate) choose(s *scope) bool {
	if !c.when.pass(s.values) {
		return false
	}
	p, ok := c.when.programs[""]
	if !ok {
		p, ok = c.when.programs[s.language.name]
	}
	c.program = p
	return ok
}

// decide evaluates what is open as far as it is known. It is false if the rule
// cannot match any more.
func (c *candidate) decide(s *scope) bool {
	if c.truth == open {
		c.truth, c.err = c.eval(s)
	}
	return c.truth != no && (c.truth != fault || c.do.closed())
}

// allowed says what rules allow: in their own words, or else by their names.
func allowed(all []candidate, kinds decoders.Kinds) string {
	var words, names []string
	for _, c := range all {
		switch {
		case c.do != &actions[allow] || c.shadow || c.on&kinds == 0:
		case c.message != "":
			words = append(words, c.message)
		default:
			names = append(names, strconv.Quote(c.name))
		}
	}
	switch {
	case words != nil:
		return "Allowed: " + strings.Join(words, " ")
	case names != nil:
		return "Allowed is what these rules say: " + strings.Join(names, ", ") + "."
	}
	return ""
}

// pool is what events of a kind can meet.
func (r *Rules) pool(kind decoders.Kinds) *pool {
	if r.plan == nil {
		return new(pool)
	}
	return &r.plan.pools[bits.TrailingZeros16(uint16(kind))]
}

// candidates are the rules of the session.
func (r *Rules) candidates() []candidate {
	if r.plan == nil {
		return nil
	}
	return r.plan.all
}

// login makes what a login says known to the rules.
func (r *Rules) login(facts decoders.Facts) {
	r.scope.login, r.scope.loggedIn = facts, true
	r.scope.forget()
	r.spender.user = userOf(facts)
	r.after = r.after[:0]
	for _, i := range r.plan.early {
		c := r.plan.all[i]
		if !c.decide(&r.scope) {
			c.truth = no
		}
		r.after = append(r.after, c)
	}
	clear(r.seen)
}

// matching are the rules that match an event, until the next call.
func (r *Rules) matching(ev *decoders.Event) []candidate {
	r.scope.begin(ev.Facts)
	pool := r.pool(ev.Kind)
	r.could = pool.could(r.could, ev.Facts)
	r.matched = r.matched[:0]
	for i := r.could.next(0); i >= 0; i = r.could.next(i + 1) {
		c := r.plan.all[pool.members[i]]
		if c.late > 0 && r.scope.loggedIn {
			c = r.after[c.late-1]
		}
		if c.decide(&r.scope) {
			r.matched = append(r.matched, c)
		}
	}
	r.scope.end()
	return r.matched
}

// alerts reports whether a rule in the pool tells people.
func (p *pool) alerts(all []candidate) bool {
	return slices.ContainsFunc(p.members, func(i int) bool { return all[i].do == &actions[alert] && !all[i].shadow })
}
