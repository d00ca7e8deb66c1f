package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"agentd.dev/recorder"
)

// Sessions are some of those that a query chooses.
type Sessions struct {
	Sessions []Listed // the latest first
	Next     int64
	Back     time.Time
	Unknown  string
}

// A Listed is a session with the After of the page that follows it.
type Listed struct {
	Cursor int64 `json:"cursor,omitempty"`
	recorder.Summary
}

// Sessions returns the sessions that q chooses, the latest first: those of which
// the facts are so, and one statement at least fits all that q says of
// statements. Since and Until are of when they began.
func (x *Index) Sessions(ctx context.Context, q Query) (page Sessions, err error) {
	page.Sessions = []Listed{}
	live, err := x.folder.Recording()
	if err != nil {
		return page, err
	}
	p, err := x.plan(&q, 0)
	if err != nil {
		return page, fmt.Errorf("search the index: %w", err)
	}
	if page.Unknown = p.unknown; p.unknown != "" {
		return page, nil
	}
	below, deadline := int64(math.MaxInt64), time.Time{}
	if q.After > 0 {
		below = q.After
	}
	if q.Within > 0 {
		deadline = time.Now().Add(q.Within)
	}
	from, to, err := x.begun(q.Since, q.Until)
	if err != nil {
		return page, fmt.Errorf("search the index: %w", err)
	}
	below = min(below, to)
	for block := (below - 1) >> blockBits; block >= from>>blockBits; block-- {
		b, err := x.among(&p, block)
		if err != nil {
			return page, fmt.Errorf("search the index: %w", err)
		}
		if b == nil {
			continue
		}
		if below>>blockBits == block {
			b.clear(int(below&(blockSize-1)), blockSize)
		}
		for n := b.below(blockSize); n >= 0; n = b.below(n) {
			number := block<<blockBits | int64(n)
			s, err := x.about(number, live)
			if err == nil {
				var fits bool
				if fits, err = x.chooses(ctx, &q, s); fits {
					page.Sessions = append(page.Sessions, Listed{number, s.Summary})
				}
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return page, fmt.Errorf("search the index: %w", err)
			}
			if q.Limit > 0 && len(page.Sessions) == q.Limit {
				page.Next = number
				return page, nil
			}
			if !deadline.IsZero() && time.Now().After(deadline) {
				page.Next, page.Back = number, s.Start
				return page, nil
			}
		}
	}
	return page, nil
}

// A summary is a session in the index.
type summary struct {
	recorder.Summary
	number, record, last int64
}

// about reads a session. If the log is being written, those without an end go on.
func (x *Index) about(number int64, live bool) (*summary, error) {
	rows, err := x.stmt("select record, last, latest, state, summary from sessions where id = ?", number)
	if err != nil {
		return nil, err
	}
	s := &summary{number: number}
	var latest int64
	var state, text string
	if rows.Next() {
		err = rows.Scan(&s.record, &s.last, &latest, &state, &text)
	} else {
		err = fmt.Errorf("session %d is missing", number)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &s.Summary); err != nil {
		return nil, err
	}
	switch s.State = state; {
	case state == recorder.Ended:
	case state == recorder.Live && live:
		s.End = time.Time{}
	default:
		s.State, s.End = recorder.Interrupted, time.Unix(0, latest).UTC()
	}
	return s, nil
}

func (x *Index) summary(number int64) (*recorder.Summary, error) {
	s, err := x.about(number, true)
	if err != nil {
		return nil, err
	}
	return &s.Summary, nil
}

// disorder is how much later than others a session may be recorded that began
// before them.
const disorder = time.Minute

// begun returns the numbers from which on, and below which, sessions are that may
// have begun in a time.
func (x *Index) begun(since, until time.Time) (from, to int64, err error) {
	if err := x.db.QueryRow("select coalesce(max(id), 0) + 1 from sessions").Scan(&to); err != nil {
		return 0, 0, err
	}
	// first returns the first session that began at t or later.
	first := func(t time.Time) (int64, error) {
		low, high := int64(1), to
		for low < high {
			middle := (low + high) / 2
			var start, id int64
			err := x.db.QueryRow("select id, start from sessions where id >= ? order by id limit 1", middle).Scan(&id, &start)
			switch {
			case err != nil:
				return 0, err
			case start >= t.UnixNano():
				high = middle
			default:
				low = id + 1
			}
		}
		return low, nil
	}
	end := to
	if !until.IsZero() {
		if end, err = first(until.Add(disorder)); err != nil {
			return 0, 0, err
		}
	}
	if !since.IsZero() {
		from, err = first(since.Add(-disorder))
	}
	return from, end, err
}

// among are the sessions of a block of which all terms of p may hold.
func (x *Index) among(p *plan, block int64) (*bitmap, error) {
	var all *bitmap
	for i := range p.terms {
		b := new(bitmap)
		for _, f := range append(p.terms[i].facets[:len(p.terms[i].facets):len(p.terms[i].facets)], p.terms[i].unsure...) {
			if number := int64(-f); f < 0 {
				if number>>blockBits == block {
					b[number&(blockSize-1)>>6] |= 1 << (number & 63)
				}
				continue
			}
			if _, err := x.read(b, "in_sessions", f, block); err != nil {
				return nil, err
			}
		}
		if all != nil {
			b.and(all)
		}
		if *b == (bitmap{}) {
			return nil, nil
		}
		all = b
	}
	return all, nil
}

// chooses reports whether q chooses a session that may have what its terms say.
func (x *Index) chooses(ctx context.Context, q *Query, s *summary) (bool, error) {
	if !q.Since.IsZero() && s.Start.Before(q.Since) || !q.Until.IsZero() && !s.Start.Before(q.Until) || q.State != "" && q.State != s.State {
		return false, nil
	}
	if q.Where != nil && !q.Where.Statement {
		if fits, err := q.Where.Fits(nil, &s.Summary); err != nil || !fits {
			return false, err
		}
	}
	one := Query{Limit: 1, Which: recorder.Which{
		Text: q.Text, Verb: q.Verb, Table: q.Table, Verdict: q.Verdict, Rule: q.Rule, Approval: q.Approval,
		Approver: q.Approver, Group: q.Group, Failed: q.Failed, Rows: q.Rows, Took: q.Took,
	}}
	if q.Where != nil && q.Where.Statement {
		one.Where = q.Where
	} else if one.Which == (recorder.Which{}) {
		return true, nil
	}
	one.Claim, one.Denied = q.Claim, q.Denied
	if key, value, _ := strings.Cut(q.Claim, "="); q.Claim != "" && s.Claims[key] == value {
		one.Claim = "" // of the session, whatever it asked before it said so
	}
	return x.has(ctx, &one, s)
}

// has reports whether a statement of a session fits.
func (x *Index) has(ctx context.Context, q *Query, s *summary) (some bool, err error) {
	p, err := x.plan(q, s.number)
	if err != nil || p.unknown != "" {
		return false, err
	}
	p.from = s.record
	q.After = s.last + 1
	summaries := map[int64]*recorder.Summary{s.number: &s.Summary}
	h := hunt{x: x, ctx: ctx, q: q, plan: &p, found: func(id int64) (bool, error) {
		_, fits, err := x.fits(q, id, summaries)
		some = some || fits
		return fits, err
	}}
	_, err = h.run()
	return some, err
}
