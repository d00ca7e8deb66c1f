package usage

import (
	"slices"
	"strings"
	"sync"
)

// An account is what one workload does to one target.
type account struct {
	profile *profile
	target  string

	mu      sync.Mutex // guards what follows; taken before the profile's
	windows [len(spans)]window
	tables  map[string]*seen
	verbs   map[string]*seen
	// looked is since when tables are known, which they are only where rules ask
	// for them; of a target that is newer than that, since when they are of others.
	looked int64
	// hour is what is used in the hour that runs; hours, before it, those in which
	// something was.
	hour    counts
	hourIs  int64
	hourEnd int64
	hours   []counts
	typical counts // of hours
}

// A profile is what one workload does.
type profile struct {
	who string

	mu       sync.Mutex // guards what follows
	since    int64      // when it was first seen, in seconds since 1970
	last     int64      // when it last did anything
	names    int        // how many are kept of it
	looked   int64      // since when tables are known of any target
	full     bool       // there were more than are kept
	targets  map[string]*seen
	programs map[string]*seen
}

// A seen name is one that was let through, and when last.
type seen struct{ last int64 }

func newProfile(who string, now int64) *profile {
	return &profile{who: who, since: now, last: now, targets: map[string]*seen{}, programs: map[string]*seen{}}
}

func newAccount(p *profile, target string) *account {
	a := &account{profile: p, target: target, tables: map[string]*seen{}, verbs: map[string]*seen{}}
	for i := range a.windows {
		a.windows[i] = newWindow(i)
	}
	return a
}

// count adds what was used at a time. The caller holds the lock.
func (a *account) count(t int64, c *counts) {
	for i := range a.windows {
		a.windows[i].add(t, c)
	}
	a.pass(t)
	a.hour.add(c)
}

// pass ends the hour that ran, if another one has begun.
func (a *account) pass(t int64) {
	if t < a.hourEnd {
		return
	}
	now := t / 3600
	if a.hour.Statements > 0 {
		a.hours = append(a.hours, a.hour)
		a.hours = a.hours[max(0, len(a.hours)-maxHours):]
		a.settle()
	}
	a.hour, a.hourIs, a.hourEnd = counts{}, now, (now+1)*3600
}

// settle makes out what is typical.
func (a *account) settle() {
	median := func(of func(*counts) int64) int64 {
		if len(a.hours) < minHours {
			return Untypical
		}
		all := make([]int64, len(a.hours))
		for i := range a.hours {
			all[i] = of(&a.hours[i])
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	a.typical = counts{
		Statements: median(func(c *counts) int64 { return c.Statements }),
		Rows:       median(func(c *counts) int64 { return c.Rows }),
		Bytes:      median(func(c *counts) int64 { return c.Bytes }),
		Affected:   median(func(c *counts) int64 { return c.Affected }),
		Denials:    median(func(c *counts) int64 { return c.Denials }),
	}
}

// distinct is how many tables were used since a time.
func (a *account) distinct(since int64) (n int64) {
	for _, s := range a.tables {
		if s.last >= since {
			n++
		}
	}
	return n
}

// learn notes a name in one of the sets of a workload, nil if there is no room.
// The caller holds the set's lock and the profile's.
func (p *profile) learn(set map[string]*seen, name string, now int64) *seen {
	if s := set[name]; s != nil {
		s.last = max(s.last, now)
		return s
	}
	if p.names >= maxNames || len(name) > maxName {
		p.full = true
		return nil
	}
	p.names++
	s := &seen{last: now}
	set[strings.Clone(name)] = s
	return s
}
