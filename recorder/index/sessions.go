package index

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	c, err := x.choosing(ctx, &q)
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
			if number < from {
				break
			}
			s, err := c.judge(number, live)
			if s != nil {
				page.Sessions = append(page.Sessions, Listed{number, s.Summary})
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return page, fmt.Errorf("search the index: %w", err)
			}
			if q.Limit > 0 && len(page.Sessions) == q.Limit {
				page.Next = number
				return page, nil
			}
			if !deadline.IsZero() && time.Now().After(deadline) {
				page.Next = number
				page.Back, err = x.start(number)
				return page, err
			}
		}
	}
	return page, nil
}

func (x *Index) summary(number int64) (*recorder.Summary, error) {
	s := summary{number: number}
	if err := x.find(&s); err != nil {
		return nil, err
	}
	err := s.parse(true)
	return &s.Summary, err
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
