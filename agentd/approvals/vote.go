package approvals

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What can be wrong with a vote, beside the record.
var (
	ErrUnknown = errors.New("there is no such request")
	ErrOver    = errors.New("it is decided already")
	ErrBarred  = errors.New("not yours to decide")
)

// maxReason is how long a reason may be, in bytes.
const maxReason = 4 << 10

// Vote takes what by says about a request: one no denies it, and it is granted
// when as many different people as it needs have said yes. Shown is the digest
// of what they were shown, "" if they do not say. The vote is recorded before it
// has effect; if it cannot be, it has none and is an error.
//
// The errors are ErrUnknown, ErrOver and ErrBarred (errors.Is), or the record's.
func (d *Desk) Vote(id string, grant bool, by Voter, reason, shown string) (Request, error) {
	d.mu.Lock()
	r := d.all[id]
	if r == nil {
		d.mu.Unlock()
		return Request{}, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	resume, err := d.vote(r, grant, &by, reason, shown)
	after := r.view()
	d.mu.Unlock()
	call(resume)
	return after, err
}

func (d *Desk) vote(r *request, grant bool, by *Voter, reason, shown string) (resume []func(), err error) {
	now := d.options.Clock.Now()
	switch {
	case r.State != Pending:
		return nil, fmt.Errorf("%w: %s", ErrOver, r.State)
	case !now.Before(r.Expires): // its timer is about to say so
		return nil, fmt.Errorf("%w: %s", ErrOver, Expired)
	case shown != "" && shown != r.Shown:
		return nil, fmt.Errorf("%w: you were shown another request than %s", ErrBarred, r.ID)
	case !grant && strings.TrimSpace(reason) == "":
		return nil, fmt.Errorf("%w without a reason: the agent is told why", ErrBarred)
	case len(reason) > maxReason:
		return nil, fmt.Errorf("%w with a reason of %d bytes: %d are enough", ErrBarred, len(reason), maxReason)
	}
	if err := r.bars(by); err != nil {
		return nil, err
	}
	agreed := 0
	for _, v := range r.Votes {
		if v.person == by.person() && grant {
			return nil, fmt.Errorf("%w twice: you have agreed already, and %d people have to", ErrBarred, r.Need)
		}
		agreed++
	}
	what := "denied"
	if grant {
		agreed++
		what = "granted"
		if agreed < r.Need {
			what = "agreed"
		}
	}
	vote := by.vote(grant, reason, now)
	if err := d.note(r, what, vote.attrs()...); err != nil {
		return nil, fmt.Errorf("your vote could not be recorded and has no effect: %w", err)
	}
	r.Votes = append(r.Votes, vote)
	switch what {
	case "granted":
		return d.grant(r, now), nil
	case "denied":
		return d.end(r, Denied, reason), nil
	}
	d.changed()
	return nil, nil
}

// grant lets r through.
func (d *Desk) grant(r *request, now time.Time) (resume []func()) {
	resume = d.decided(r, Granted, "")
	lasts := r.For
	if lasts == 0 { // once; who does not wait may come again as long as it could have waited
		lasts = r.Expires.Sub(r.Asked)
	}
	r.Until = now.Add(lasts)
	r.stop = d.options.Clock.AfterFunc(lasts, func() { d.expire(r) })
	if r.For == 0 {
		return resume
	}
	// What else waits for the same need not be decided any more.
	for _, other := range append([]*request(nil), d.keys[r.key]...) {
		if other.State == Pending {
			d.noteEnd(other, Withdrawn, covered)
			resume = append(resume, d.end(other, Withdrawn, covered)...)
		}
	}
	return resume
}

// bars says why by may not decide about r, nil if they may.
func (r *request) bars(by *Voter) error {
	switch {
	case by.Captured != "":
		return fmt.Errorf("%w: you are in the captured workload %s", ErrBarred, by.Captured)
	case !by.among(r.By):
		return fmt.Errorf("%w: the rule asks for %s", ErrBarred, strings.Join(r.By, ", "))
	default:
		return nil
	}
}

// vote returns the vote of v.
func (v *Voter) vote(grant bool, reason string, now time.Time) Vote {
	return Vote{Grant: grant, By: v.String(), UID: v.UID, Subject: v.Subject, Groups: v.Groups, Reason: reason, Via: v.Via, At: now, person: v.person()}
}

// attrs are what is recorded of a vote.
func (v *Vote) attrs() []any {
	attrs := []any{"by", v.By, "via", v.Via}
	if v.UID != nil {
		attrs = append(attrs, "uid", *v.UID)
	}
	if v.Subject != "" {
		attrs = append(attrs, "subject", v.Subject)
	}
	if len(v.Groups) > 0 {
		attrs = append(attrs, "groups", strings.Join(v.Groups, ","))
	}
	if v.Reason != "" {
		attrs = append(attrs, "reason", v.Reason)
	}
	return attrs
}
