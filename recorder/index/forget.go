package index

import (
	"context"
	"database/sql"
	"fmt"
)

// Forget removes the statements whose records are from one index up to another,
// which is not meant, and the sessions that lie within: of records that were
// emptied, nothing is to be found. Those that go on keep what they say of
// themselves.
func (x *Index) Forget(ctx context.Context, from, to int64) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing, once committed
	for _, what := range []string{
		"delete from words where rowid >= ? and rowid < ?",
		"delete from statements where id >= ? and id < ?",
		"delete from pending where id >= ? and id < ?",
	} {
		if _, err := tx.ExecContext(ctx, what, from, to); err != nil {
			return fmt.Errorf("remove records from the index: %w", err)
		}
	}
	p, err := newPosting(tx, "postings")
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "select id from postings where id & 0xffffff between ? and ?", from>>blockBits, (to-1)>>blockBits)
	if err != nil {
		return err
	}
	var keys []int64
	for rows.Next() {
		var key int64
		if err := rows.Scan(&key); err != nil {
			rows.Close()
			return err
		}
		keys = append(keys, key)
	}
	if err := rows.Close(); err != nil {
		return err
	}
	for _, key := range keys {
		block := key & (1<<24 - 1)
		s, err := p.set(facet(key>>24), block)
		if err != nil {
			return err
		}
		for n := max(from, block<<blockBits); n < min(to, (block+1)<<blockBits); n++ {
			s.remove(uint16(n))
		}
	}
	if err := p.flushAll(); err != nil {
		return err
	}
	if err := x.forgetSessions(ctx, tx, from, to); err != nil {
		return fmt.Errorf("remove sessions from the index: %w", err)
	}
	return tx.Commit()
}

// forgetSessions removes those that began and ended within.
func (x *Index) forgetSessions(ctx context.Context, tx *sql.Tx, from, to int64) error {
	rows, err := tx.QueryContext(ctx, "select id from sessions where record >= ? and last < ? and state = 'ended'", from, to)
	if err != nil {
		return err
	}
	var numbers []int64
	for rows.Next() {
		var number int64
		if err := rows.Scan(&number); err != nil {
			rows.Close()
			return err
		}
		numbers = append(numbers, number)
	}
	if err := rows.Close(); err != nil || len(numbers) == 0 {
		return err
	}
	// That a session is there is a facet, too: the others need not be touched.
	among, err := newPosting(tx, "in_sessions")
	if err != nil {
		return err
	}
	for _, number := range numbers {
		if err := among.remove(everything, number); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "delete from sessions where id = ?", number); err != nil {
			return err
		}
	}
	return among.flushAll()
}
