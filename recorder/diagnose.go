package recorder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// A following is what is kept of a record after one that is out of place.
type following struct {
	link
	ok bool
}

// diagnose says what happened where the record s does not follow the log:
// every record names its index and its predecessor's hash, so that what comes
// next is a witness of what was there.
func (v *verification) diagnose(s *step) (*Finding, error) {
	here := step{segment: s.segment, offset: s.offset, payload: bytes.Clone(s.payload), link: s.link}
	if s.payload == nil {
		return v.finding(Changed, s, "its hash does not follow from those before"), nil
	}
	next, err := v.after()
	if err != nil {
		return nil, err
	}
	place := v.log.tree.size
	switch index := here.link.index; {
	case index == place:
		return v.unlinked(&here, next), nil
	case next.ok && next.prev == half(here.renumbered(place)):
		return v.finding(Changed, &here, fmt.Sprintf("it calls itself record %d", index)), nil
	case index > place:
		return v.skipped(&here, next)
	case next.ok && next.index == place+1:
		return v.finding(Changed, &here, fmt.Sprintf("it is, or calls itself, record %d", index)), nil
	case index == place-1 && here.link.leaf != v.log.last && next.ok && next.prev == half(here.link.leaf):
		return v.usurped(&here), nil
	case here.link.leaf == v.log.last:
		return v.finding(Inserted, &here, fmt.Sprintf("it is a copy of record %d", index)), nil
	default:
		return v.finding(Inserted, &here, fmt.Sprintf("it is, or calls itself, record %d", index)), nil
	}
}

// renumbered returns the leaf hash that s would have as record index.
func (s *step) renumbered(index int64) tlog.Hash {
	mended := bytes.Clone(s.payload)
	putIndex(mended[1+indexAt:1+indexAt+indexWidth], index)
	return sha256.Sum256(mended)
}

// relinked returns the leaf hash that s would have if it followed prev.
func (s *step) relinked(prev tlog.Hash) tlog.Hash {
	mended := bytes.Clone(s.payload)
	hex.Encode(mended[1+prevAt:], prev[:prevWidth/2])
	return sha256.Sum256(mended)
}

// after returns the next record that can be read.
func (v *verification) after() (following, error) {
	for {
		s, err := v.walk.next()
		if err == io.EOF {
			return following{}, nil
		}
		if err != nil {
			return following{}, err
		}
		if !s.start() {
			return following{link: s.link, ok: s.err == nil}, nil
		}
	}
}

// unlinked is about two records that have the right indexes but do not fit:
// either the first was changed, or what the second says of it.
func (v *verification) unlinked(s *step, next following) *Finding {
	place := v.log.tree.size
	if place == 0 {
		return v.finding(Changed, s, "it is the first record, and names one before it")
	}
	if v.covers == place { // a checkpoint speaks for the record before
		return v.finding(Changed, s, "it does not name the record before it")
	}
	if next.ok && next.prev == half(s.relinked(v.log.last)) {
		return v.finding(Changed, s, "what it says of the record before it was changed")
	}
	f := v.finding(Changed, s, "")
	f.First = place - 1
	f.Segment, f.Offset, f.Session = v.good.segment, v.good.offset, string(sessionOf(v.good.payload))
	f.LastGood = timeOf(v.before.payload)
	f.Want, f.Got = hex.EncodeToString(s.link.prev[:]), hex.EncodeToString(v.log.last[:prevWidth/2])
	if next.ok && next.prev == half(s.link.leaf) {
		f.Last = place - 1
		f.Detail = "it is not what the record after it says"
		return f
	}
	f.Detail = "it is not what the record after it says, and that one may not be right either"
	return f
}

// skipped is about a record that comes too early: those before it were
// removed, or come later.
func (v *verification) skipped(s *step, next following) (*Finding, error) {
	place := v.log.tree.size
	for later := next; later.ok; { // to the next that cannot be read, or the end
		if later.index == place {
			f := v.finding(Reordered, s, fmt.Sprintf("record %d stands in its place", s.link.index))
			return f, nil
		}
		var err error
		if later, err = v.after(); err != nil {
			return nil, err
		}
	}
	if next.ok && next.index == place+1 {
		return v.finding(Changed, s, fmt.Sprintf("it is, or calls itself, record %d", s.link.index)), nil
	}
	f := v.finding(Removed, s, fmt.Sprintf("record %d stands in its place", s.link.index))
	f.Last = s.link.index - 1
	f.Session = ""
	return f, nil
}

// witness looks, after a checkpoint that does not agree, at what the next
// record says of the last: if they differ, that one was changed.
func (v *verification) witness(f *Finding, next following) {
	if !next.ok || next.index != v.log.tree.size || next.prev == half(v.log.last) {
		return
	}
	f.Kind = Changed
	f.First = v.log.tree.size - 1
	f.Want, f.Got = hex.EncodeToString(next.prev[:]), hex.EncodeToString(v.log.last[:prevWidth/2])
	f.Detail = "it is neither what the checkpoint covers nor what the record after it says"
}

// forked reports, where a checkpoint kept elsewhere does not agree, whether the
// folder's next one does with the records up to it: then the key signed both.
func (v *verification) forked(next following) (bool, error) {
	own := v.notes.own
	if own == nil {
		return false, nil
	}
	t := v.log.tree
	for t.size < own.Size {
		if !next.ok {
			return false, nil
		}
		t.add(next.link.leaf)
		if t.size == own.Size {
			break
		}
		var err error
		if next, err = v.after(); err != nil {
			return false, err
		}
	}
	return t.size == own.Size && t.root() == own.Root, nil
}

// usurped is about two records with one index, of which the record after them
// confirms the second.
func (v *verification) usurped(s *step) *Finding {
	f := v.finding(Inserted, s, "the record after it has the same index, and what follows confirms that one")
	f.First--
	f.Last = f.First
	f.Segment, f.Offset, f.Session = v.good.segment, v.good.offset, string(sessionOf(v.good.payload))
	f.LastGood = timeOf(v.before.payload)
	return f
}

func half(h tlog.Hash) [prevWidth / 2]byte { return [prevWidth / 2]byte(h[:]) }
