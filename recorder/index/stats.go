package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
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
}

// A Count is how many statements there are of something.
type Count struct {
	Name       string `json:"name"`
	Statements int64  `json:"statements"`
	Denied     int64  `json:"denied"`
}

// spans is how many Stats.Over has at most.
const spans = 24

const counts = "count(*), coalesce(sum(s.verdict in ('deny', 'close')), 0)"

// Stats counts the statements that q chooses, whatever its After and Limit; of
// workloads and tables the first top are returned.
func (x *Index) Stats(ctx context.Context, q Query, top int) (Stats, error) {
	q.After = 0
	from, _, args := q.from()
	var s Stats
	var first, last int64
	err := x.db.QueryRowContext(ctx, "select "+counts+", coalesce(min(s.time), 0), coalesce(max(s.time), 0) from "+from, args...).
		Scan(&s.Statements, &s.Denied, &first, &last)
	if err != nil {
		return s, fmt.Errorf("count in the index: %w", err)
	}
	if s.Statements == 0 {
		return s, nil
	}
	s.First, s.Last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
	if s.Workloads, err = x.count(ctx, "o.workload", from, args); err != nil {
		return s, err
	}
	lists, err := x.count(ctx, "s.tables", from, args)
	if err != nil {
		return s, err
	}
	s.Workloads, s.Tables = most(s.Workloads, top), most(perTable(lists), top)
	span := (last-first)/spans + 1
	buckets, err := x.count(ctx, fmt.Sprintf("(s.time - %d) / %d", first, span), from, args)
	if err != nil {
		return s, err
	}
	s.Over = make([]Count, (last-first)/span+1)
	for i := range s.Over {
		s.Over[i].Name = time.Unix(0, first+int64(i)*span).UTC().Format(time.RFC3339)
	}
	for _, b := range buckets {
		var i int
		fmt.Sscan(b.Name, &i)
		s.Over[i].Statements, s.Over[i].Denied = b.Statements, b.Denied
	}
	return s, nil
}

func (x *Index) count(ctx context.Context, by, from string, args []any) ([]Count, error) {
	rows, err := x.db.QueryContext(ctx, "select "+by+", "+counts+" from "+from+" group by 1", args...)
	if err != nil {
		return nil, fmt.Errorf("count in the index: %w", err)
	}
	defer rows.Close()
	var all []Count
	for rows.Next() {
		var c Count
		if err := rows.Scan(&c.Name, &c.Statements, &c.Denied); err != nil {
			return nil, fmt.Errorf("count in the index: %w", err)
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// perTable splits counts of lists of tables.
func perTable(lists []Count) []Count {
	sums := map[string]*Count{}
	for _, l := range lists {
		names := strings.Fields(l.Name)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			c := sums[name]
			if c == nil {
				c = &Count{Name: name}
				sums[name] = c
			}
			c.Statements += l.Statements
			c.Denied += l.Denied
		}
	}
	var all []Count
	for _, c := range sums {
		all = append(all, *c)
	}
	return all
}

func most(all []Count, top int) []Count {
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Statements, a.Statements), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(top, len(all))]
}
