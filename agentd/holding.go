package agentd

import (
	"cmp"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"agentd.dev/agentd/approvals"
	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// A holder is what of a session has to do with requests that wait for people.
type holder struct {
	decoder        decoders.Decoder
	user, database string // of the login, as the server sees it
	// question is the newest, of the request with its Seq.
	question approvals.Question
	held     *held // nil unless one waits, or has until now
}

// A held is a request that waits for people. The judge's loop has it, and
// whoever cancels it.
type held struct {
	key       cancelKey
	id        string
	cancelled atomic.Bool
}

// loggedIn notes who the session is.
func (h *holder) loggedIn(facts decoders.Facts) {
	if facts == nil {
		return
	}
	as, _ := facts.Field("login.as").(string)
	user, _ := facts.Field("login.user").(string)
	h.user = cmp.Or(as, user)
	h.database, _ = facts.Field("login.database").(string)
}

// approve turns a verdict that people decide into one by what they have decided.
// Was is what the request has waited as, nil if it comes for the first time. It
// fails closed: where it cannot be told what exactly would be done, or nobody can
// be asked, the answer is no.
func (j *judge) approve(ev *decoders.Event, v policy.Verdict, was *held) policy.Verdict {
	if ev.Kind == decoders.Prepare { // running it is what people are asked about
		v.Outcome, v.Reason, v.Hint = policy.Forward, "", ""
		return v
	}
	if was != nil && was.cancelled.Load() {
		return was.takenBack(v)
	}
	desk := j.daemon.desk
	q := j.ask(ev)
	if v.Terms == nil || q == nil || desk == nil {
		v.Outcome = policy.Refuse
		v.Reason += " It needs approval, which nobody can give: it cannot be told exactly what this would do."
		if !j.want.Bindings {
			v.Hint = "Connect again: rules that ask people have come since this session began."
		}
		return v
	}
	q.Terms = *v.Terms
	s := desk.Consult(q)
	v.Approval = s.ID
	switch {
	case s.State == approvals.Pending && (!q.Open || q.Terms.Open):
		v.Reason += " It waits for approval (agentd-approval: " + s.ID + ")."
		v.Hint = cmp.Or(v.Hint, "agentctl approvals show "+s.ID)
		j.hold(s.ID, &v)
		return v
	case s.State == approvals.Pending:
		v.Outcome = policy.Refuse
		v.Reason += " It needs approval, and does not wait for it while a transaction is open (agentd-approval: " + s.ID + ")."
		v.Hint = cmp.Or(v.Hint, "Roll back, and try the same again once it is approved: agentctl approvals show "+s.ID)
	case s.State == approvals.Granted:
		granted := j.rules.Approved(ev)
		granted.Approval = s.ID
		v = granted
	default:
		v.Outcome = policy.Refuse
		v.Reason += " " + answer(&s)
	}
	j.holder.question = approvals.Question{}
	return v
}

// answer is what people have said, or why they were not asked.
func answer(s *approvals.Standing) string {
	text := "Approval was " + s.State.String()
	if s.By != "" {
		text += " by " + s.By
	}
	if s.Reason != "" {
		text += ": " + strings.TrimSuffix(s.Reason, ".")
	}
	if s.ID != "" {
		text += " (agentd-approval: " + s.ID + ")"
	}
	return text + "."
}

// takenBack is the verdict on a request whose client has cancelled it.
func (h *held) takenBack(v policy.Verdict) policy.Verdict {
	v.Outcome, v.Cancelled, v.Approval = policy.Refuse, true, h.id
	v.Reason, v.Hint = "Its client cancelled it while it waited for approval.", ""
	return v
}

// undecided is the verdict on a request that waited for people, and that the
// rules in force now decide about.
func (j *judge) undecided(was *held, v policy.Verdict) policy.Verdict {
	j.daemon.desk.Withdraw(was.id, "the rules have changed")
	j.holder.question = approvals.Question{}
	if was.cancelled.Load() {
		return was.takenBack(v)
	}
	v.Approval = was.id
	return v
}

// ask returns the question whether ev may go on, nil if there is no asking: of
// an event that is asked about again, the one from before.
func (j *judge) ask(ev *decoders.Event) *approvals.Question {
	q := &j.holder.question
	if q.Session != nil && q.Seq == ev.Seq {
		return q
	}
	if ev.Kind != decoders.Request || ev.Binding == nil {
		return nil
	}
	*q = approvals.Question{
		Session: &j.session, User: j.holder.user, Database: j.holder.database,
		Seq: ev.Seq, Statement: string(ev.Record), Parameters: ev.Binding.Parameters(),
		Digest: ev.Binding.Digest(), Open: ev.Binding.Open(),
	}
	if ev.Facts != nil {
		q.Verbs, _ = ev.Facts.Field("sql.verbs").([]string)
		q.Tables, _ = ev.Facts.Field("sql.tables").([]string)
	}
	q.Claims = j.claims(ev)
	return q
}

// claims are what is said of why ev is asked: by its process, and by itself,
// which goes before it.
func (j *judge) claims(ev *decoders.Event) map[string]string {
	all := map[string]string{}
	maps.Copy(all, j.session.Identity.Claims)
	said, _ := ev.Told()
	for _, c := range said {
		all[c.Key] = c.Value
	}
	return all
}

// hold has the request wait until the one for approval with this id is decided.
func (j *judge) hold(id string, v *policy.Verdict) {
	d, h := j.daemon, &held{id: id}
	if c, ok := j.holder.decoder.(decoders.Canceller); ok {
		h.key = cancelKey{j.session.Target.Address, string(c.CancelKey())}
	}
	j.holder.held = h
	d.held.add(h)
	v.Wait = func(resume func()) { d.desk.Wait(id, resume) }
	v.Withdraw = func(why string) {
		d.held.remove(h)
		d.desk.Withdraw(id, why)
	}
}

// unhold ends the wait of what was held, and returns that.
func (j *judge) unhold() *held {
	h := j.holder.held
	if h != nil {
		j.holder.held = nil
		j.daemon.held.remove(h)
	}
	return h
}

// A cancelKey is what the protocol cancels a request by: where its server is,
// and a secret that this gave to the session. It is in no record.
type cancelKey struct {
	server netip.AddrPort
	key    string
}

// heldRequests are those of all sessions that wait for people, by what cancels
// them.
type heldRequests struct {
	mu  sync.Mutex // guards all
	all map[cancelKey]*held
}

func (r *heldRequests) add(h *held) {
	if h.key.key == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[cancelKey]*held{}
	}
	r.all[h.key] = h
}

func (r *heldRequests) remove(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[h.key] == h {
		delete(r.all, h.key)
	}
}

// cancel takes the request of a session back, if one waits. What runs, or waits
// for nobody, is the server's to cancel.
func (j *judge) cancel() {
	c, ok := j.holder.decoder.(decoders.Canceller)
	if !ok {
		return
	}
	d := j.daemon
	d.held.mu.Lock()
	h := d.held.all[cancelKey{j.session.Target.Address, string(c.CancelKey())}]
	d.held.mu.Unlock()
	if h != nil {
		h.cancelled.Store(true)
		d.desk.Withdraw(h.id, "its client cancelled it")
	}
}
