package usage

import (
	"fmt"
	"strings"

	"agentd.dev/decoders"
)

// A View is one session's use of what is counted of its workload and target. It
// is used by one goroutine at a time.
type View struct {
	store   *Store
	account *account // nil: there is no room for it
	program string
	// met are the names in facts that were let through before in this session.
	met map[decoders.Facts][]*seen
	// known: the target and the program are noted.
	known bool
}

// maxMet is how many facts a session remembers.
const maxMet = 256

// named are the fields that hold the names of what conditions call table and
// verb.
const (
	tables = "sql.tables"
	verbs  = "sql.verbs"
)

// Through counts an event that was let through: a statement is counted when it
// is let through, what it returns when Done tells. Facts are learned. It allocates nothing for
// facts that it was told of before.
func (v *View) Through(facts decoders.Facts) {
	a := v.account
	if a == nil {
		return
	}
	if v.store.spill.has() {
		v.store.spill.through(a, v.program, facts)
	}
	now := v.store.now().Unix()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count(now, &counts{Statements: 1})
	v.store.touched()
	p := a.profile
	if list, ok := v.met[facts]; ok && facts != nil && v.known {
		for _, s := range list {
			s.last = now
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
	v.look(facts, now)
	p.learn(p.targets, a.target, now)
	if v.program != "" {
		p.learn(p.programs, v.program, now)
	}
	v.known = true
	if facts == nil {
		return
	}
	var list []*seen
	for _, of := range []struct {
		field string
		set   map[string]*seen
	}{{tables, a.tables}, {verbs, a.verbs}} {
		names, _ := facts.Field(of.field).([]string)
		for _, name := range names {
			if s := p.learn(of.set, name, now); s != nil {
				list = append(list, s)
			}
		}
	}
	if v.met == nil || len(v.met) >= maxMet {
		v.met = map[decoders.Facts][]*seen{}
	}
	v.met[facts] = list
}

// Denied counts an event that was refused.
func (v *View) Denied() { v.add(&counts{Denials: 1}) }

// Done counts what came of a statement that was let through.
func (v *View) Done(r *decoders.Result) {
	if r.Rows != 0 || r.Bytes != 0 || r.Affected != 0 {
		v.add(&counts{Rows: r.Rows, Bytes: r.Bytes, Affected: r.Affected})
	}
}

func (v *View) add(c *counts) {
	if a := v.account; a != nil {
		if v.store.spill.has() {
			v.store.spill.add(a, c)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.count(v.store.now().Unix(), c)
		v.store.touched()
	}
}

// Counter returns the value of a field of an event with these facts: usage.SPAN.
// and what is counted, or first. and what may be new. An error is why it is not
// known. It implements policy.Counters.
func (v *View) Counter(name string, facts decoders.Facts) (any, error) {
	a := v.account
	if a == nil {
		return nil, errFull
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := v.store.now().Unix()
	if what, ok := strings.CutPrefix(name, "first."); ok {
		return v.first(what, facts, now)
	}
	_, rest, _ := strings.Cut(name, ".")
	span, what, _ := strings.Cut(rest, ".")
	if span == "typical" {
		a.pass(now)
		if len(a.hours) == 0 {
			a.settle()
		}
		return a.typical.of(what)
	}
	for i := range spans {
		if spans[i].name != span {
			continue
		}
		w := &a.windows[i]
		from := w.from(now)
		switch blind := v.store.blind; {
		case blind != 0 && from < blind:
			return nil, errBlind
		case what == "tables" && a.profile.isFull():
			return nil, errNames
		case what == "tables":
			return a.distinct(from), nil
		}
		w.advance(now)
		return w.sum.of(what)
	}
	return nil, fmt.Errorf("nothing is counted as %s", name)
}

// of returns a count by its name.
func (c *counts) of(what string) (any, error) {
	switch what {
	case "statements":
		return c.Statements, nil
	case "rows":
		return c.Rows, nil
	case "bytes":
		return c.Bytes, nil
	case "affected":
		return c.Affected, nil
	case "denials":
		return c.Denials, nil
	}
	return nil, fmt.Errorf("%s are not counted", what)
}

// first reports whether an event is the first of its workload in some way, after
// it was watched for long enough. The caller holds the account's lock.
func (v *View) first(what string, facts decoders.Facts, now int64) (any, error) {
	a, p := v.account, v.account.profile
	p.mu.Lock()
	defer p.mu.Unlock()
	since := p.since
	if what == "table" {
		since = max(since, v.lookedSince(now))
	}
	if now < since+v.store.learn.Load() {
		return false, nil
	}
	var is bool
	switch what {
	case "target":
		is = p.targets[a.target] == nil
	case "program":
		is = v.program != "" && p.programs[v.program] == nil
	case "table", "verb":
		field, set := tables, a.tables
		if what == "verb" {
			field, set = verbs, a.verbs
		}
		if facts == nil {
			return nil, errFacts
		}
		names, known := facts.Field(field).([]string)
		if !known {
			return nil, errFacts
		}
		for _, name := range names {
			is = is || set[name] == nil
		}
	default:
		return nil, fmt.Errorf("nothing is known as first.%s", what)
	}
	if is && p.full { // it may be known, and there was no room for it
		return nil, errNames
	}
	return is, nil
}

// look notes since when tables are known, of facts that were let through. The
// caller holds both locks.
func (v *View) look(facts decoders.Facts, now int64) {
	a, p := v.account, v.account.profile
	if facts == nil || a.looked != 0 {
		return
	}
	if _, known := facts.Field(tables).([]string); known {
		a.looked = v.lookedSince(now)
		if p.looked == 0 {
			p.looked = now
		}
	}
}

// lookedSince is since when tables are known. The caller holds both locks.
func (v *View) lookedSince(now int64) int64 {
	a, p := v.account, v.account.profile
	switch {
	case a.looked != 0:
		return a.looked
	case p.targets[a.target] == nil && p.looked != 0: // it is a new target, and all of it is new
		return p.looked
	}
	return now
}

func (p *profile) isFull() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full
}
