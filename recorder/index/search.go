package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"agentd.dev/recorder"
)

// A Page is some of the statements that a query chooses.
type Page struct {
	Statements []recorder.Statement // the latest first
	// Next is the After of the page that follows, 0 if there is none.
	Next int64
	// Back is how far back it was searched, if the time that a query may take
	// was over before the page was full.
	Back    time.Time
	Unknown string // what the query names and the log does not
}

// Search returns the statements that q chooses, the latest first. A page is
// stable: what is recorded meanwhile comes before the first. An error that
// wraps recorder.ErrElsewhere says that the log contradicts the index.
func (x *Index) Search(ctx context.Context, q Query) (page Page, err error) {
	p, err := x.plan(&q, 0)
	if err != nil {
		return page, fmt.Errorf("search the index: %w", err)
	}
	page.Unknown, page.Statements = p.unknown, []recorder.Statement{}
	if p.unknown != "" {
		return page, nil
	}
	summaries := map[int64]*recorder.Summary{}
	var all []*located
	h := hunt{x: x, ctx: ctx, q: &q, plan: &p, found: func(id int64) (bool, error) {
		s, fits, err := x.fits(&q, id, summaries)
		if err != nil || !fits {
			return false, err
		}
		all = append(all, s)
		page.Next = id
		return q.Limit > 0 && len(all) == q.Limit, nil
	}}
	end, err := h.run()
	switch {
	case err != nil:
		return page, fmt.Errorf("search the index: %w", err)
	case end == atEnd:
		page.Next = 0
	case end == outOfTime:
		page.Next, page.Back = h.done, time.Unix(0, h.back).UTC()
	}
	for _, s := range all {
		if q.Where == nil || !q.Where.Text {
			if err := x.fill(s); err != nil {
				return page, err
			}
		}
		page.Statements = append(page.Statements, s.Statement)
	}
	return page, nil
}

// fits returns a statement that was found, and whether the query's condition
// holds for it.
func (x *Index) fits(q *Query, id int64, summaries map[int64]*recorder.Summary) (*located, bool, error) {
	s, err := x.statement(id, summaries)
	if err != nil || q.Where == nil {
		return s, err == nil, err
	}
	if q.Where.Text {
		if err := x.fill(s); err != nil {
			return nil, false, err
		}
	}
	fits, err := q.Where.Fits(&s.Statement, summaries[s.number])
	return s, fits, err
}

// How a hunt ends.
const (
	atEnd     = iota // everything was searched
	full             // found said that it is enough
	outOfTime        // the query's time is over
)

// A hunt goes through the statements that a query's terms and words choose, the
// latest first.
type hunt struct {
	x     *Index
	ctx   context.Context
	q     *Query
	plan  *plan
	found func(id int64) (enough bool, err error)

	done     int64 // all from here on was searched
	back     int64 // and that far back, in nanoseconds
	deadline time.Time
	end      int // how it ends
}

// step is told of a statement that has what is wanted, and says whether that is
// enough.
func (h *hunt) step(id int64) (stop bool, err error) {
	h.done = id
	enough, err := h.found(id)
	switch {
	case enough:
		h.end = full
	case h.q.Where != nil && h.late():
		h.end = outOfTime
	default:
		return false, err
	}
	return true, err
}

// run returns how it ended.
func (h *hunt) run() (int, error) {
	below := int64(math.MaxInt64)
	if h.q.After > 0 {
		below = h.q.After
	}
	if h.q.Within > 0 {
		h.deadline = time.Now().Add(h.q.Within)
	}
	h.done = below
	cuts, err := h.x.cuts(h.plan, below)
	if err != nil {
		return 0, err
	}
	words, err := h.x.phrase(h.q.Text)
	if err != nil {
		return 0, err
	}
	if words == "" {
		return h.blocks(cuts, below)
	}
	return h.words(cuts, words, below)
}

func (h *hunt) pass(c cut) { h.done, h.back = c.block<<blockBits, c.first }

func (h *hunt) late() bool { return !h.deadline.IsZero() && time.Now().After(h.deadline) }

// blocks goes through what the terms choose.
func (h *hunt) blocks(cuts []cut, below int64) (int, error) {
	for _, c := range cuts {
		if err := h.ctx.Err(); err != nil {
			return 0, err
		}
		if h.late() {
			return outOfTime, nil
		}
		h.back = c.last
		b, err := h.members(c, below)
		if err != nil {
			return 0, err
		}
		for n := blockSize; b != nil; {
			if n = b.below(n); n < 0 {
				break
			}
			if stop, err := h.step(c.block<<blockBits | int64(n)); err != nil || stop {
				return h.end, err
			}
		}
		h.pass(c)
	}
	return atEnd, nil
}

func (h *hunt) members(c cut, below int64) (*bitmap, error) {
	b, err := h.x.members(h.plan, c)
	if b != nil && below>>blockBits == c.block {
		b.clear(int(below&(blockSize-1)), blockSize)
	}
	return b, err
}

// A located statement knows its session's number.
type located struct {
	recorder.Statement
	number, segment, at int64
}

// statement reads one, without its text.
func (x *Index) statement(id int64, summaries map[int64]*recorder.Summary) (*located, error) {
	rows, err := x.stmt("select "+rowColumns+" from statements s where id = ?", id)
	if err != nil {
		return nil, err
	}
	var r row
	if rows.Next() {
		err = r.scan(rows)
	} else {
		err = fmt.Errorf("statement %d is missing", id)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	if err := r.resolve(x.name); err != nil {
		return nil, err
	}
	o := summaries[r.session]
	if o == nil {
		if o, err = x.summary(r.session); err != nil {
			return nil, err
		}
		summaries[r.session] = o
	}
	s := &located{number: r.session, segment: r.segment, at: r.at, Statement: recorder.Statement{
		Cursor: id, Seq: uint64(r.seq), Time: time.Unix(0, r.time).UTC(), Kind: r.kind,
		Verbs: r.verbs, Tables: r.tables, Verdict: r.verdict, Rule: r.rule, Approval: r.approval,
		Rows: r.rows, Took: time.Duration(r.ns), Code: r.code,
	}}
	s.Of(o, r.claims)
	if r.approval != "" {
		err = x.voted(&s.Statement)
	}
	return s, err
}

// fill reads the text of a statement from the log.
func (x *Index) fill(s *located) error {
	t, err := x.text(s.segment, s.at, s.Session)
	if errors.Is(err, recorder.ErrHidden) {
		s.Unreadable = "encrypted, or emptied"
		return nil
	}
	if err != nil {
		return err
	}
	s.Text = t.Text
	return nil
}

// name is what a facet stands for.
func (x *Index) name(id int64) (string, error) {
	if id == 0 {
		return "", nil
	}
	if name, ok := x.names[id]; ok {
		return name, nil
	}
	var name string
	if err := x.db.QueryRow("select value from facets where id = ?", id).Scan(&name); err != nil {
		return "", fmt.Errorf("facet %d: %w", id, err)
	}
	if len(x.names) >= maxNames {
		clear(x.names)
	}
	x.names[id] = name
	return name, nil
}

// voted adds who voted on what a statement needed approval for.
func (x *Index) voted(s *recorder.Statement) error {
	rows, err := x.stmt("select who, groups from votes where approval = ?", s.Approval)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var who, groups string
		if err := rows.Scan(&who, &groups); err != nil {
			return err
		}
		s.Approvers = append(s.Approvers, who)
		if groups != "" {
			s.Groups = append(s.Groups, strings.Split(groups, ",")...)
		}
	}
	return rows.Err()
}
