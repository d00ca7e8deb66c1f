package policy

import (
	"sync"
	"time"

	"agentd.dev/decoders"
)

// maxMeters is how many meters are kept. Beyond it those are dropped whose time
// is over, and if there are none, all: a limit must not become a way to use up
// memory.
const maxMeters = 64 << 10

// Meters count what is used of limits, by rule and by whom. They are shared by
// all sessions.
type meters struct {
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[subject]*meter
}

// A subject is whose requests a meter counts.
type subject struct {
	rule, name string
	by         by
}

func newMeters() *meters { return &meters{now: time.Now, all: map[subject]*meter{}} }

// A meter counts for one subject.
type meter struct {
	mu    sync.Mutex // guards the rest
	since time.Time
	per   time.Duration
	used  used
}

// Used is what was used.
type used struct{ statements, rows, bytes, affected int64 }

// meter returns the meter of a subject, made if need be.
func (m *meters) meter(s subject, per time.Duration, now time.Time) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := m.all[s]; found != nil {
		return found
	}
	if len(m.all) >= maxMeters {
		for s, old := range m.all {
			if old.over(now) {
				delete(m.all, s)
			}
		}
		if len(m.all) >= maxMeters {
			clear(m.all)
		}
	}
	made := &meter{since: now, per: per}
	m.all[s] = made
	return made
}

func (m *meter) over(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.per > 0 && now.Sub(m.since) >= m.per
}

// read returns what was used in the time that is running.
func (m *meter) read(now time.Time, per time.Duration) used {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.per = per
	if per > 0 && now.Sub(m.since) >= per {
		m.since, m.used = now, used{}
	}
	return m.used
}

// renewed is when the time is over, zero if it never is.
func (m *meter) renewed(per time.Duration) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if per == 0 {
		return time.Time{}
	}
	return m.since.Add(per)
}

func (m *meter) add(u used) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used.statements += u.statements
	m.used.rows += u.rows
	m.used.bytes += u.bytes
	m.used.affected += u.affected
}

// A spender is one session's use of meters.
type spender struct {
	meters                  *meters
	workload, session, user string
	own                     map[string]*meter // of this session alone, by rule
	open                    map[uint64]opened
}

// An opened request is one that has not come to an end.
type opened struct {
	meters  []*meter
	watched []*rule // limits in shadow mode
}

func (m *meters) spender(s *Session) spender {
	return spender{meters: m, workload: s.Identity.Workload, session: s.ID}
}

// userOf is who a login is for.
func userOf(facts decoders.Facts) string {
	if facts == nil {
		return ""
	}
	user, _ := facts.Field("login.user").(string)
	return user
}

// meter returns the meter of a rule for this session.
func (s *spender) meter(r *rule, now time.Time) *meter {
	of := subject{rule: r.name, by: r.bounds.by}
	switch r.bounds.by {
	case byWorkload:
		of.name = s.workload
	case byUser:
		of.name = s.user
	default:
		if s.own == nil {
			s.own = map[string]*meter{}
		}
		if s.own[r.name] == nil {
			s.own[r.name] = &meter{since: now}
		}
		return s.own[r.name]
	}
	return s.meters.meter(of, r.bounds.per, now)
}

// begin notes which meters count a request, and which rules watch it.
func (s *spender) begin(seq uint64, m []*meter, watched []*rule) {
	if len(m)+len(watched) == 0 {
		return
	}
	if s.open == nil {
		s.open = map[uint64]opened{}
	}
	s.open[seq] = opened{m, watched}
}

// end counts what a request came to.
func (s *spender) end(outcome *decoders.Event) {
	if len(s.open) == 0 {
		return
	}
	r := &outcome.Result
	of := s.open[outcome.Seq]
	for _, m := range of.meters {
		m.add(used{rows: r.Rows, bytes: r.Bytes, affected: r.Affected})
	}
	for _, rule := range of.watched {
		if rule.bounds.beyond(r) {
			r.Over = append(r.Over, rule.name)
		}
	}
	delete(s.open, outcome.Seq)
	for seq := outcome.Seq + 1; seq <= r.Through; seq++ {
		delete(s.open, seq)
	}
}
