package index

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// What looking for words in a piece of the log may cost.
const (
	leastPiece = 256     // records
	mostPiece  = 1 << 24 // records
	firstPiece = 4096
	slice      = 8 * time.Millisecond
	single     = 80 * time.Microsecond // to ask of one statement
)

// words goes through what the terms choose and has the words, piece by piece. A
// piece is searched for the words as a whole, unless that has proved to take
// longer than to ask of each statement that the terms choose.
func (h *hunt) words(cuts []cut, phrase string, below int64) (int, error) {
	piece, perRecord := int64(firstPiece), 0.0
	for len(cuts) > 0 {
		n := min(len(cuts), int(max(1, piece>>blockBits)))
		chosen, err := h.several(cuts[:n], below)
		if err != nil {
			return 0, err
		}
		for high := chosen.below(math.MaxInt64); high >= 0; high = chosen.below(h.done) {
			if err := h.ctx.Err(); err != nil {
				return 0, err
			}
			if h.late() {
				return outOfTime, nil
			}
			low := max(high-piece+1, cuts[n-1].block<<blockBits)
			ids := chosen.between(low, high, int(min(perRecord*float64(high-low+1)/float64(single), 1e6)))
			begun := time.Now()
			if ids == nil {
				ids, err = h.ranged(chosen, phrase, low, high)
				perRecord = float64(time.Since(begun)) / float64(high-low+1)
			} else {
				ids, err = h.singly(ids, phrase)
			}
			if err != nil {
				return 0, fmt.Errorf("find words: %w", err)
			}
			switch took := time.Since(begun); {
			case took > slice:
				piece = max(leastPiece, piece/2)
			case took < slice/4:
				piece = min(2*piece, mostPiece)
			}
			for _, id := range ids {
				if stop, err := h.step(id); err != nil || stop {
					return h.end, err
				}
			}
			h.done = low
		}
		h.pass(cuts[n-1])
		cuts = cuts[n:]
	}
	return atEnd, nil
}

// several are the members of some blocks.
type several map[int64]*bitmap

func (h *hunt) several(cuts []cut, below int64) (several, error) {
	all := several{}
	for _, c := range cuts {
		b, err := h.members(c, below)
		if err != nil {
			return nil, err
		}
		if b != nil {
			all[c.block] = b
		}
	}
	h.back = cuts[0].last
	return all, nil
}

func (s several) has(id int64) bool {
	b := s[id>>blockBits]
	return b != nil && b.has(int(id&(blockSize-1)))
}

// below returns the greatest member that is less than id, -1 if there is none.
func (s several) below(id int64) int64 {
	var greatest int64 = -1
	for block, b := range s {
		if block > id>>blockBits || block < greatest>>blockBits {
			continue
		}
		n := blockSize
		if block == id>>blockBits {
			n = int(id & (blockSize - 1))
		}
		if n = b.below(n); n >= 0 {
			greatest = max(greatest, block<<blockBits|int64(n))
		}
	}
	return greatest
}

// between returns the members from low to high, the greatest first, nil if
// there are more than most.
func (s several) between(low, high int64, most int) (ids []int64) {
	for id := high; id >= low; id = s.below(id) {
		if len(ids) >= most {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// ranged are the members from low to high that have the words, or the first of
// them if these are enough.
func (h *hunt) ranged(chosen several, phrase string, low, high int64) (ids []int64, err error) {
	rows, err := h.x.stmt("select rowid from words where words match ? and rowid between ? and ? order by rowid desc", phrase, low, high)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if !chosen.has(id) {
			continue
		}
		if ids = append(ids, id); h.q.Where == nil && h.q.Limit > 0 && len(ids) >= h.q.Limit {
			break
		}
	}
	return ids, errors.Join(rows.Err(), rows.Close())
}

// singly are those of ids that have the words.
func (h *hunt) singly(ids []int64, phrase string) (has []int64, err error) {
	for _, id := range ids {
		rows, err := h.x.stmt("select rowid from words where words match ? and rowid = ?", phrase, id)
		if err != nil {
			return nil, err
		}
		if rows.Next() { // no milestone is asked for
			has = append(has, id)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return has, nil
}
