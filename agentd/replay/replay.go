// Package replay tries rules on what was recorded: which of its verdicts they
// would have changed.
//
// It decodes nothing again. A record has what the rules were asked about
// (recorder.Facts), and what it lacks is not guessed: such events are counted
// as not decided, with why. docs/decisions/0024-facts-in-the-record.md.
package replay

import (
	"context"
	"strings"
	"time"

	"agentd.dev/agentd/usage"
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// Options choose what is told of. Limits count what came before, too, as far as
// they reach.
type Options struct {
	Since    time.Time
	Session  string // the beginning of its id, "" for all
	Workload string // "" for all
	// Schema, if not "", is where relations are taken to be of which it is not
	// recorded and that are named without one.
	Schema string
	// Default, if not "", is what targets do with requests that no rule speaks
	// of, allow or deny, in place of what they did.
	Default  string
	Progress func(done, total int64)
	// Each, if not nil, is told of every verdict.
	Each func(*Trial)
}

// A Trial is what the rules say to one event.
type Trial struct {
	Event   *recorder.Event
	Verdict policy.Verdict
	Change  Change // Same, unless Why
	Assumed bool   // it depends on where tables are taken to be
	Why     string // it is not decided, "" if it is

	session *session
	asked   decoders.Event
}

// Explain tells what each rule has to do with it.
func (t *Trial) Explain() []policy.Look {
	return t.session.replay.engine.Explain(&t.session.policy, &t.session.entrance, &t.asked)
}

// Run tries the rules of e, which are to be fresh ones, on the log in folder.
func Run(ctx context.Context, folder *recorder.Folder, e *policy.Engine, protocols []decoders.Protocol, o Options) (*Report, error) {
	r := replay{engine: e, options: o, learned: learned(protocols), sessions: map[string]*session{}, report: newReport()}
	e.Clock(r.clock)
	r.from = o.Since
	if !r.from.IsZero() {
		r.from = r.from.Add(-e.Memory())
	}
	err := folder.Events(ctx, o.Progress, r.see)
	r.report.finish()
	return r.report, err
}

// A replay is one run.
type replay struct {
	engine   *policy.Engine
	options  Options
	learned  map[string]bool // fields
	from     time.Time       // before it, nothing is judged
	now      time.Time       // of the record that is read
	sessions map[string]*session
	report   *Report
	usage    *usage.Store
	unnamed  bool // something was counted of which the tables are not known
}

func (r *replay) clock() time.Time { return r.now }

func learned(protocols []decoders.Protocol) map[string]bool {
	found := map[string]bool{}
	for _, p := range protocols {
		for _, f := range p.Fields {
			found[f.Name] = found[f.Name] || f.Learned
		}
	}
	return found
}

// see takes one record.
func (r *replay) see(e *recorder.Event) error {
	if e.Kind == "close" {
		delete(r.sessions, e.Session.ID)
		return nil
	}
	if e.Kind == "open" || e.Time.Before(r.from) && e.Kind != "login" {
		return nil
	}
	r.now = e.Time
	s := r.sessions[e.Session.ID]
	if s == nil {
		s = newSession(r, e.Session)
		r.sessions[e.Session.ID] = s
	}
	if e.Kind == "outcome" {
		r.tell(s, e)
		return nil
	}
	if e.Again { // what rules said is the verdict before
		s.granted(e)
		s.count(e)
		return nil
	}
	t := s.judge(e)
	s.count(e)
	if r.chosen(e) {
		r.report.add(&t)
		if r.options.Each != nil {
			r.options.Each(&t)
		}
	}
	return nil
}

func (r *replay) chosen(e *recorder.Event) bool {
	return !e.Time.Before(r.options.Since) &&
		strings.HasPrefix(e.Session.ID, r.options.Session) &&
		(r.options.Workload == "" || r.options.Workload == e.Session.Workload)
}

// tell has the rules count what a request came to, and finds those that they
// would have cut short.
func (r *replay) tell(s *session, e *recorder.Event) {
	if limit := s.told(e); limit != nil && r.chosen(e) {
		r.report.cut(e, limit)
	}
}
