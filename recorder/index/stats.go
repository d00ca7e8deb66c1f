package index

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"agentd.dev/recorder"
)

// Stats are counts of statements.
type Stats struct {
	Statements int64     `json:"statements"`
	Denied     int64     `json:"denied"` // by verdict deny or close
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	Workloads  []Count   `json:"workloads"` // those with the most first
	Tables     []Count   `json:"tables"`
	Over       []Count   `json:"over"` // time, from First to Last in equal spans, named by their start
	Unknown    string    `json:"unknown,omitempty"`
}

// A Count is how many statements there are of something.
type Count struct {
	Name       string `json:"name"`
	Statements int64  `json:"statements"`
	Denied     int64  `json:"denied"`
}

// spans is how many Stats.Over has at most.
const spans = 48

// Stats counts the statements that q chooses, whatever its After, Limit and
// Within; of workloads and tables the first top are returned. First and Last
// are whole minutes.
func (x *Index) Stats(ctx context.Context, q Query, top int) (Stats, error) {
	s := Stats{Workloads: []Count{}, Tables: []Count{}, Over: []Count{}}
	q.After, q.Limit, q.Within = 0, 0, 0
	c := counting{x: x, q: &q, chosen: map[int64]*bitmap{}, refused: map[int64]*bitmap{}}
	err := c.choose(ctx)
	if err == nil {
		s.Unknown = c.plan.unknown
		for block, b := range c.chosen {
			s.Statements += int64(b.count())
			s.Denied += int64(c.refused[block].count())
		}
	}
	if s.Statements > 0 && err == nil {
		if s.Workloads, err = c.by(ctx, byWorkload, top); err == nil {
			if s.Tables, err = c.by(ctx, byTable, top); err == nil {
				err = c.over(ctx, &s)
			}
		}
	}
	if err != nil {
		return s, fmt.Errorf("count in the index: %w", err)
	}
	return s, nil
}

// A counting is what a query chooses, by block, and what of it was refused.
type counting struct {
	x       *Index
	q       *Query
	plan    plan
	chosen  map[int64]*bitmap
	refused map[int64]*bitmap
}

func (c *counting) choose(ctx context.Context) (err error) {
	if c.plan, err = c.x.plan(c.q, 0); err != nil || c.plan.unknown != "" {
		return err
	}
	if c.q.Text != "" || c.q.Where != nil { // one by one
		h := hunt{x: c.x, ctx: ctx, q: c.q, plan: &c.plan, found: c.found(ctx)}
		if _, err := h.run(); err != nil {
			return err
		}
	} else if err := c.whole(ctx); err != nil {
		return err
	}
	for block, b := range c.chosen {
		r := new(bitmap)
		if _, err := c.x.read(r, "postings", denied, block); err != nil {
			return err
		}
		r.and(b)
		c.refused[block] = r
	}
	return nil
}

func (c *counting) whole(ctx context.Context) error {
	cuts, err := c.x.cuts(&c.plan, math.MaxInt64)
	if err != nil {
		return err
	}
	for _, at := range cuts {
		b, err := c.x.members(&c.plan, at)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if b != nil {
			c.chosen[at.block] = b
		}
	}
	return nil
}

func (c *counting) found(ctx context.Context) func(int64) (bool, error) {
	summaries := map[int64]*recorder.Summary{}
	return func(id int64) (bool, error) {
		if c.q.Where != nil {
			_, fits, err := c.x.fits(c.q, id, summaries)
			if err != nil || !fits {
				return false, err
			}
		}
		b := c.chosen[id>>blockBits]
		if b == nil {
			b = new(bitmap)
			c.chosen[id>>blockBits] = b
		}
		n := id & (blockSize - 1)
		b[n>>6] |= 1 << (n & 63)
		return false, nil
	}
}

// by counts what was chosen for each facet of a kind.
func (c *counting) by(ctx context.Context, kind string, top int) ([]Count, error) {
	rows, err := c.x.db.Query("select id, value from facets where kind = ?", kind)
	if err != nil {
		return nil, err
	}
	names := map[facet]string{}
	for rows.Next() {
		var id int64
		var name string
		if err = rows.Scan(&id, &name); err != nil {
			break
		}
		names[facet(id)] = name
	}
	if err := cmp.Or(err, rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	all := []Count{}
	for f, name := range names {
		n := Count{Name: name}
		err := c.each(f, f, func(_ facet, chosen, refused int64) {
			n.Statements += chosen
			n.Denied += refused
		})
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		if n.Statements > 0 {
			all = append(all, n)
		}
	}
	return most(all, top), nil
}

// each tells, for each facet from first to last and each block in which it is,
// how much of what was chosen has it.
func (c *counting) each(first, last facet, tell func(f facet, chosen, refused int64)) error {
	rows, err := c.x.stmt("select id, bits from postings where id between ? and ? order by id", first.key(0), last.key(1<<24-1))
	if err != nil {
		return err
	}
	defer rows.Close()
	var kept []byte
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id, &kept); err != nil {
			return err
		}
		block := id & (1<<24 - 1)
		if chosen := c.chosen[block]; chosen != nil {
			b := new(bitmap)
			b.or(kept)
			b.and(chosen)
			n := b.count()
			b.and(c.refused[block])
			tell(facet(id>>24), int64(n), int64(b.count()))
		}
	}
	return rows.Err()
}

// over counts by time.
func (c *counting) over(ctx context.Context, s *Stats) error {
	type count struct{ chosen, refused int64 }
	by := map[int64]count{} // by minute
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	err := c.each(minutes-(1<<31), minutes+(1<<31), func(f facet, chosen, refused int64) {
		if chosen == 0 {
			return
		}
		m := int64(f - minutes)
		was := by[m]
		by[m] = count{was.chosen + chosen, was.refused + refused}
		first, last = min(first, m), max(last, m)
	})
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	at := func(minute int64) time.Time { return time.Unix(60*minute, 0).UTC() }
	s.First, s.Last = at(first), at(last+1)
	span := (last-first)/spans + 1
	s.Over = make([]Count, (last-first)/span+1)
	for i := range s.Over {
		s.Over[i].Name = at(first + int64(i)*span).Format(time.RFC3339)
	}
	for m, n := range by {
		to := &s.Over[(m-first)/span]
		to.Statements += n.chosen
		to.Denied += n.refused
	}
	return nil
}

func most(all []Count, top int) []Count {
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Statements, a.Statements), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(top, len(all))]
}
