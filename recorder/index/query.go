package index

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"

	"agentd.dev/recorder"
	"agentd.dev/recorder/where"
)

// A Query chooses statements, or sessions by their statements.
type Query struct {
	recorder.Which
	Where *where.Condition // nil for all
	State string           // of the session; for Sessions only
	After int64            // the Next of the page before
	Limit int              // 0 for all
	// Within is how long it may take: what was not searched by then is told, and
	// can be gone on with. 0 for as long as it takes.
	Within time.Duration
}

// A term is facets of which a statement must have one.
type term struct {
	facets []facet
	// Of those with the facets in unsure, fits judges the row; of no others.
	unsure []facet
	fits   func(*row) bool
}

// A plan is a query as terms.
type plan struct {
	terms        []term
	since, until int64 // nanoseconds; zero for no bound
	from         int64 // no record before it is wanted
	unknown      string
	// chosen is what must hold, too, by block; nil for nothing.
	chosen func(block int64) (*bitmap, error)
}

// plan looks up what q names. What was never recorded fits nothing, and the plan
// says what it is.
func (x *Index) plan(q *Query, session int64) (p plan, err error) {
	p.terms = []term{{facets: []facet{everything}}}
	if session != 0 {
		p.terms[0].facets[0] = of(session)
	}
	table := byName
	if strings.Contains(q.Table, ".") {
		table = byTable
	}
	for _, f := range append(q.ofSession(), []struct{ kind, value string }{
		{byClaim, q.Claim},
		{byVerb, strings.ToLower(q.Verb)},
		{table, strings.ToLower(q.Table)},
		{byVerdict, q.Verdict},
		{byRule, q.Rule},
		{byApproval, q.Approval},
		{byApprover, q.Approver},
		{byGroup, q.Group},
	}...) {
		if f.value == "" {
			continue
		}
		var id int64
		err := x.db.QueryRow("select id from facets where kind = ? and value = ?", f.kind, f.value).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			p.unknown = fmt.Sprintf("no %s %q was recorded", strings.TrimSuffix(f.kind, " of any schema"), f.value)
			return p, nil
		}
		if err != nil {
			return p, err
		}
		p.terms = append(p.terms, term{facets: []facet{facet(id)}})
	}
	if q.Session != "" && session == 0 {
		var number int64
		err := x.db.QueryRow("select id from sessions where name = ?", q.Session).Scan(&number)
		if errors.Is(err, sql.ErrNoRows) {
			p.unknown = fmt.Sprintf("no session %q was recorded", q.Session)
			return p, nil
		}
		if err != nil {
			return p, err
		}
		p.terms = append(p.terms, term{facets: []facet{of(number)}})
	}
	if q.Denied {
		p.terms = append(p.terms, term{facets: []facet{denied}})
	}
	if q.Failed {
		p.terms = append(p.terms, term{facets: []facet{failed}})
	}
	if q.Rows > 0 {
		if err := p.atLeast(x, rowsLike, q.Rows, func(r *row) int64 { return r.rows }); err != nil {
			return p, err
		}
	}
	if q.Took > 0 {
		if err := p.atLeast(x, tookLike, int64(q.Took), func(r *row) int64 { return r.ns }); err != nil {
			return p, err
		}
	}
	if !q.Since.IsZero() {
		p.since = q.Since.UnixNano()
	}
	if !q.Until.IsZero() {
		p.until = q.Until.UnixNano()
	}
	return p, nil
}

// ofSession are the words that q wants of a session.
func (q *Query) ofSession() []struct{ kind, value string } {
	return []struct{ kind, value string }{
		{byWorkload, q.Workload},
		{byNamespace, q.Namespace},
		{byPod, q.Pod},
		{byServiceAccount, q.ServiceAccount},
		{byOwner, q.Owner},
		{byTarget, q.Target},
		{byHost, q.Host},
		{byProtocol, q.Protocol},
		{byUser, q.User},
		{byDatabase, q.Database},
	}
}

// atLeast adds the term of numbers of at least n: those with more bits, and some
// of those with as many.
func (p *plan) atLeast(x *Index, like facet, n int64, of func(*row) int64) error {
	least := bits.Len64(uint64(n))
	t := term{unsure: []facet{like + facet(least)}, fits: func(r *row) bool { return of(r) >= n }}
	var last int64 // that anything has
	if err := x.db.QueryRow("select coalesce(max(id), 0) from postings where id < ?", (like + 64).key(0)).Scan(&last); err != nil {
		return err
	}
	for f := like + facet(least) + 1; f <= facet(last>>24); f++ {
		t.facets = append(t.facets, f)
	}
	p.terms = append(p.terms, t)
	return nil
}

// A cut is a block of statements and when it was.
type cut struct{ block, first, last int64 }

// cuts are the blocks that may hold what p chooses, below a record, the latest
// first.
func (x *Index) cuts(p *plan, below int64) (all []cut, err error) {
	until := p.until
	if until == 0 {
		until = math.MaxInt64
	}
	since := p.since
	if since == 0 {
		since = math.MinInt64
	}
	rows, err := x.stmt("select id, first, last from blocks where id between ? and ? and last >= ? and first < ? order by id desc",
		p.from>>blockBits, (below-1)>>blockBits, since, until)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c cut
		if err := rows.Scan(&c.block, &c.first, &c.last); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// read adds the members of f in a block to b.
func (x *Index) read(b *bitmap, table string, f facet, block int64) (some bool, err error) {
	var kept sql.RawBytes
	rows, err := x.stmt("select bits from "+table+" where id = ?", f.key(block))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&kept); err != nil {
			return false, err
		}
		b.or(kept)
		some = true
	}
	return some, rows.Err()
}

// members are the statements of a block that p chooses, nil if there are none.
func (x *Index) members(p *plan, c cut) (*bitmap, error) {
	var all *bitmap
	for i := range p.terms {
		b := new(bitmap)
		some := false
		for _, f := range p.terms[i].facets {
			has, err := x.read(b, "postings", f, c.block)
			if err != nil {
				return nil, err
			}
			some = some || has
		}
		if t := &p.terms[i]; len(t.unsure) > 0 {
			has, err := x.judge(b, all, t.unsure, t.fits, c.block)
			if err != nil {
				return nil, err
			}
			some = some || has
		}
		if all != nil {
			b.and(all)
		}
		if !some || *b == (bitmap{}) {
			return nil, nil
		}
		all = b
	}
	if p.chosen != nil {
		chosen, err := p.chosen(c.block)
		if err != nil {
			return nil, err
		}
		if all.and(chosen); *all == (bitmap{}) {
			return nil, nil
		}
	}
	return x.timed(all, p, c)
}

// judge adds to b what fits of those with facets, among what is in within.
func (x *Index) judge(b, within *bitmap, facets []facet, fits func(*row) bool, block int64) (some bool, err error) {
	var unsure bitmap
	for _, f := range facets {
		if _, err := x.read(&unsure, "postings", f, block); err != nil {
			return false, err
		}
	}
	if within != nil {
		unsure.and(within)
	}
	for n := unsure.below(blockSize); n >= 0; n = unsure.below(n) {
		var r row
		rows, err := x.stmt("select time, rows, ns from statements where id = ?", block<<blockBits|int64(n))
		if err != nil {
			return false, err
		}
		if rows.Next() {
			err = rows.Scan(&r.time, &r.rows, &r.ns)
		}
		if err = errors.Join(err, rows.Close()); err != nil {
			return false, err
		}
		if fits(&r) {
			b[n>>6] |= 1 << (n & 63)
			some = true
		}
	}
	return some, nil
}

// timed leaves in b what was asked when p wants: whole minutes by their facets,
// of others by each row.
func (x *Index) timed(b *bitmap, p *plan, c cut) (*bitmap, error) {
	from, to := c.first, c.last // both within
	if p.since != 0 {
		from = max(from, p.since)
	}
	if p.until != 0 {
		to = min(to, p.until-1)
	}
	if from == c.first && to == c.last {
		return b, nil
	}
	t := term{fits: func(r *row) bool { return from <= r.time && r.time <= to }}
	for m := minuteOf(from); m <= minuteOf(to); m++ {
		begins := int64(m-minutes) * int64(time.Minute)
		if begins < from || begins+int64(time.Minute)-1 > to {
			t.unsure = append(t.unsure, m)
		} else {
			t.facets = append(t.facets, m)
		}
	}
	within := new(bitmap)
	for _, f := range t.facets {
		if _, err := x.read(within, "postings", f, c.block); err != nil {
			return nil, err
		}
	}
	if _, err := x.judge(within, b, t.unsure, t.fits, c.block); err != nil {
		return nil, err
	}
	if b.and(within); *b == (bitmap{}) {
		return nil, nil
	}
	return b, nil
}

// stmt asks with a statement that is prepared once.
func (x *Index) stmt(text string, args ...any) (*sql.Rows, error) {
	s := x.prepared[text]
	if s == nil {
		var err error
		if s, err = x.db.Prepare(text); err != nil {
			return nil, err
		}
		x.prepared[text] = s
	}
	return s.Query(args...)
}
