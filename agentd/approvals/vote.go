package approvals

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What can be wrong with a vote, beside the record.
var (
	ErrUnknown = errors.New("there is no such request")
	ErrOver    = errors.New("it is decided already")
	ErrBarred  = errors.New("not yours to decide")
	ErrWrong   = errors.New("that is no vote")
)

// maxReason is how long a reason may be, in bytes.
const maxReason = 4 << 10

// Vote takes what by says about a request: one no denies it, and it is granted
// when as many different people as it needs have said yes. Shown is the digest
// of what they were shown, "" if they do not say; a digest of something else is
// no vote. The vote is recorded before it
// has effect; if it cannot be, it has none and is an error.
//
// The errors are ErrUnknown, ErrOver, ErrBarred and ErrWrong (errors.Is), or the record's.
func (d *Desk) Vote(id string, grant bool, by Voter, reason, shown string) (Request, error) {
	d.mu.Lock()
	r := d.all[id]
	d.mu.Unlock()
	if r == nil {
		return Request{}, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	// What this reads of r never changes.
	own := d.own(r, &by)
	d.mu.Lock()
	if own != nil && r.State == Pending {
		d.mu.Unlock()
		return Request{}, own
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
		return nil, fmt.Errorf("%w: you were shown something else than %s", ErrWrong, r.ID)
	case !grant && strings.TrimSpace(reason) == "":
		return nil, fmt.Errorf("%w: say why not, the agent is told", ErrWrong)
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, unspeakable):
		return nil, fmt.Errorf("%w: a reason of printable text, please: protocols carry it to the agent", ErrWrong)
	case len(reason) > maxReason:
		return nil, fmt.Errorf("%w: a reason of %d bytes, %d are enough", ErrWrong, len(reason), maxReason)
	}
	if !by.among(r.By) {
		return nil, fmt.Errorf("%w: the rule asks for %s", ErrBarred, strings.Join(r.By, ", "))
	}
	if grant && r.Need > 1 && by.UID != nil && *by.UID == 0 {
		return nil, fmt.Errorf("%w: %d people have to agree, and root is nobody in particular: log in as yourself, and use sudo", ErrBarred, r.Need)
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
	if err := d.note(r, what, append(vote.attrs(), "seen", shown != "")...); err != nil {
		return nil, fmt.Errorf("your vote could not be recorded and has no effect: %w", err)
	}
	r.Votes = append(r.Votes, vote)
	switch what {
	case "granted":
		return d.grant(r, now), nil
	case "denied":
		return d.end(r, Denied, reason), nil
	}
	d.happened(what, r)
	return nil, nil
}

// unspeakable are the characters that no protocol and no terminal should get.
func unspeakable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

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

// vote returns the vote of v.
func (v *Voter) vote(grant bool, reason string, now time.Time) Vote {
	return Vote{Grant: grant, By: v.String(), UID: v.UID, Subject: v.Subject, Groups: v.Groups, Reason: reason, Via: v.Via, At: now, person: v.person(), as: v.As}
}

// attrs are what is recorded of a vote.
func (v *Vote) attrs() []any {
	attrs := []any{"by", v.By, "via", v.Via}
	if v.UID != nil {
		attrs = append(attrs, "uid", *v.UID, "as", v.as)
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
