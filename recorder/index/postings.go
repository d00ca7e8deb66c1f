package index

import (
	"database/sql"
	"errors"
	"slices"
)

// A facet is a value that statements can be chosen by, as "workload is etl".
// Those that are words have a number of their own in the table facets; others
// are computed.
type facet int64

const (
	everything facet = 0
	minutes    facet = 1 << 33 // and the minute since 1970
	rowsLike   facet = 1 << 34 // and how many bits the number of rows has
	tookLike   facet = rowsLike + 64
	failed     facet = rowsLike + 128
	denied     facet = rowsLike + 129
)

// of is the facet of being of the session with this number.
func of(session int64) facet { return facet(-session) }

// key is where the members of f that are in a block are kept.
func (f facet) key(block int64) int64 { return int64(f)<<24 | block }

// maxOpen is how many blocks are in memory while postings are written.
const maxOpen = 4

// A posting keeps, for each facet and block, which records have the facet.
type posting struct {
	open          map[int64]map[facet]*set // by block
	get, put, del *sql.Stmt
	kept          []byte
}

func newPosting(tx *sql.Tx, table string) (p *posting, err error) {
	p = &posting{open: map[int64]map[facet]*set{}}
	for _, s := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&p.get, "select bits from " + table + " where id = ?"},
		{&p.put, "insert or replace into " + table + " values (?,?)"},
		{&p.del, "delete from " + table + " where id = ?"},
	} {
		if *s.to, err = tx.Prepare(s.text); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *posting) add(f facet, id int64) error {
	s, err := p.set(f, id>>blockBits)
	if err == nil {
		s.add(uint16(id))
	}
	return err
}

func (p *posting) remove(f facet, id int64) error {
	s, err := p.set(f, id>>blockBits)
	if err == nil {
		s.remove(uint16(id))
	}
	return err
}

func (p *posting) set(f facet, block int64) (*set, error) {
	facets := p.open[block]
	if facets == nil {
		for len(p.open) >= maxOpen {
			if err := p.flush(p.oldest()); err != nil {
				return nil, err
			}
		}
		facets = map[facet]*set{}
		p.open[block] = facets
	}
	if s := facets[f]; s != nil {
		return s, nil
	}
	var kept []byte
	if err := p.get.QueryRow(f.key(block)).Scan(&kept); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	s := parse(kept)
	facets[f] = s
	return s, nil
}

func (p *posting) oldest() int64 {
	var oldest int64 = -1
	for block := range p.open {
		if oldest < 0 || block < oldest {
			oldest = block
		}
	}
	return oldest
}

// flush writes a block, its facets in the order in which they are kept.
func (p *posting) flush(block int64) error {
	facets := p.open[block]
	order := make([]facet, 0, len(facets))
	for f := range facets {
		order = append(order, f)
	}
	slices.Sort(order)
	for _, f := range order {
		var err error
		if p.kept = facets[f].bytes(p.kept[:0]); len(p.kept) == 0 {
			_, err = p.del.Exec(f.key(block))
		} else {
			_, err = p.put.Exec(f.key(block), p.kept)
		}
		if err != nil {
			return err
		}
	}
	delete(p.open, block)
	return nil
}

func (p *posting) flushAll() error {
	for len(p.open) > 0 {
		if err := p.flush(p.oldest()); err != nil {
			return err
		}
	}
	return nil
}
