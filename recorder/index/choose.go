package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentd.dev/recorder"
)

// A summary is a session in the index.
type summary struct {
	recorder.Summary
	number, record, last int64

	latest      int64
	state, text string
}

// find reads a session, which parse then says all of.
func (x *Index) find(s *summary) error {
	rows, err := x.stmt("select record, last, latest, state, summary from sessions where id = ?", s.number)
	if err != nil {
		return err
	}
	if rows.Next() {
		err = rows.Scan(&s.record, &s.last, &s.latest, &s.state, &s.text)
	} else {
		err = fmt.Errorf("session %d is missing", s.number)
	}
	return errors.Join(err, rows.Err(), rows.Close())
}

// parse reads what is known of a session. If the log is being written, those
// without an end go on.
func (s *summary) parse(live bool) error {
	if err := json.Unmarshal([]byte(s.text), &s.Summary); err != nil {
		return err
	}
	switch s.State = s.state; {
	case s.state == recorder.Ended:
	case s.state == recorder.Live && live:
		s.End = time.Time{}
	default:
		s.State, s.End = recorder.Interrupted, time.Unix(0, s.latest).UTC()
	}
	return nil
}

func (x *Index) start(number int64) (time.Time, error) {
	var at int64
	err := x.db.QueryRow("select start from sessions where id = ?", number).Scan(&at)
	return time.Unix(0, at).UTC(), err
}

// A choosing judges the sessions that may have what a query wants.
type choosing struct {
	x   *Index
	ctx context.Context
	q   *Query
	one Query // what one of its statements must fit
	any bool  // every session has such a statement
	// claimed is one without the claim, which the session makes itself.
	plan, claimed plan
	blocks        map[*plan]map[int64]*bitmap // what the plan chooses, of whichever session
}

// maxBlocks is how many blocks are in memory while sessions are judged.
const maxBlocks = 64

func (x *Index) choosing(ctx context.Context, q *Query) (*choosing, error) {
	c := &choosing{x: x, ctx: ctx, q: q, blocks: map[*plan]map[int64]*bitmap{}, one: Query{Limit: 1, Which: recorder.Which{
		Text: q.Text, Verb: q.Verb, Table: q.Table, Verdict: q.Verdict, Rule: q.Rule, Approval: q.Approval,
		Approver: q.Approver, Group: q.Group, Failed: q.Failed, Rows: q.Rows, Took: q.Took,
	}}}
	if q.Where != nil && q.Where.Statement {
		c.one.Where = q.Where
	} else if c.one.Which == (recorder.Which{}) {
		c.any = true
		return c, nil
	}
	c.one.Denied = q.Denied
	var err error
	if c.claimed, err = x.plan(&c.one, 0); err != nil {
		return nil, err
	}
	c.one.Claim = q.Claim
	c.plan, err = x.plan(&c.one, 0)
	return c, err
}

// judge returns the session with a number, nil if it is not one that is wanted.
func (c *choosing) judge(number int64, live bool) (*summary, error) {
	s := &summary{number: number}
	if err := c.x.find(s); err != nil {
		return nil, err
	}
	if !c.any && c.q.Claim == "" {
		if may, err := c.may(s, &c.plan); err != nil || !may {
			return nil, err
		}
	}
	if err := s.parse(live); err != nil {
		return nil, err
	}
	q := c.q
	if !q.Since.IsZero() && s.Start.Before(q.Since) || !q.Until.IsZero() && !s.Start.Before(q.Until) || q.State != "" && q.State != s.State {
		return nil, nil
	}
	if q.Where != nil && !q.Where.Statement {
		if fits, err := q.Where.Fits(nil, &s.Summary); err != nil || !fits {
			return nil, err
		}
	}
	if c.any {
		return s, nil
	}
	p := &c.plan
	if key, value, _ := strings.Cut(q.Claim, "="); q.Claim != "" && s.Claims[key] == value {
		p = &c.claimed // of the session, whatever it asked before it said so
	}
	if some, err := c.has(s, p); err != nil || !some {
		return nil, err
	}
	return s, nil
}

// may reports whether something that p chooses was recorded while s went on.
func (c *choosing) may(s *summary, p *plan) (bool, error) {
	for block := s.last >> blockBits; block >= s.record>>blockBits; block-- {
		b, err := c.chosen(p, block)
		if err != nil {
			return false, err
		}
		high := int64(blockSize)
		if block == s.last>>blockBits {
			high = s.last&(blockSize-1) + 1
		}
		if n := b.below(int(high)); n >= 0 && block<<blockBits|int64(n) > s.record {
			return true, nil
		}
	}
	return false, nil
}

func (c *choosing) chosen(p *plan, block int64) (*bitmap, error) {
	if b := c.blocks[p][block]; b != nil {
		return b, nil
	}
	if c.blocks[p] == nil || len(c.blocks[p]) >= maxBlocks {
		c.blocks[p] = map[int64]*bitmap{}
	}
	b, err := c.x.members(p, cut{block: block})
	if b == nil {
		b = new(bitmap)
	}
	c.blocks[p][block] = b
	return b, err
}

// has reports whether a statement of s fits.
func (c *choosing) has(s *summary, p *plan) (some bool, err error) {
	q := c.one
	q.After = s.last + 1
	own := plan{terms: []term{{facets: []facet{of(s.number)}}}, from: s.record, chosen: func(block int64) (*bitmap, error) { return c.chosen(p, block) }}
	summaries := map[int64]*recorder.Summary{s.number: &s.Summary}
	h := hunt{x: c.x, ctx: c.ctx, q: &q, plan: &own, found: func(id int64) (bool, error) {
		_, fits, err := c.x.fits(&q, id, summaries)
		some = some || fits
		return fits, err
	}}
	_, err = h.run()
	return some, err
}
