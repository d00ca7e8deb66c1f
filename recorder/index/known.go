package index

import (
	"database/sql"
	"encoding/json"
	"errors"

	"agentd.dev/recorder"
)

// A meaning is what later records of a session refer to: of a prepare its text
// and claims, and what the facts of either say.
type meaning struct {
	Segment, At int64 // where the text is
	Verbs       []string
	Tables      []string
	Claims      map[string]string
	Prepare     bool

	text    string // of a prepare, unless it is long
	of      *session
	seq     uint64
	written bool
}

// What is kept in memory of meanings.
const (
	maxMeanings = 1 << 14
	maxKept     = 1 << 10 // bytes of a text
)

// remembered are the meanings in memory, the oldest first. What finds no room
// any more is in the table known.
type remembered struct {
	queue          []*meaning
	add, get, drop *sql.Stmt
}

// keep remembers what a record means.
func (k *remembered) keep(m *meaning) error {
	m.of.known[m.seq] = m
	k.queue = append(k.queue, m)
	if len(k.queue) < maxMeanings {
		return nil
	}
	for _, old := range k.queue[:maxMeanings/4] {
		if err := k.write(old); err != nil {
			return err
		}
		delete(old.of.known, old.seq)
	}
	k.queue = append(k.queue[:0:0], k.queue[maxMeanings/4:]...)
	return nil
}

// write puts a meaning away, unless its session has ended.
func (k *remembered) write(m *meaning) error {
	if m.of.known[m.seq] != m || m.written {
		return nil
	}
	what, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = k.add.Exec(m.of.number, int64(m.seq), string(what))
	m.of.away, m.written = true, true
	return err
}

// find returns what the record of s with this seq means, nil if that is lost.
func (k *remembered) find(s *session, seq uint64) (*meaning, error) {
	if m := s.known[seq]; m != nil || !s.away {
		return m, nil
	}
	var what string
	err := k.get.QueryRow(s.number, int64(seq)).Scan(&what)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &meaning{of: s, seq: seq, written: true}
	if err := json.Unmarshal([]byte(what), m); err != nil {
		return nil, err
	}
	return m, k.keep(m)
}

// meaning is what a prepare or a request means, by itself and by what it refers
// to.
func (u *updating) meaning(s *session, e *recorder.Event, p recorder.Position) (*meaning, error) {
	m := &meaning{
		Segment: p.Segment, At: p.Offset, text: e.Text.Text, Claims: e.Claims, Prepare: e.Kind == "prepare",
		Verbs: lower(e.Facts, "sql.verbs"), Tables: lower(e.Facts, "sql.tables"), of: s, seq: e.Seq,
	}
	if e.Ref != 0 {
		run, err := u.known.find(s, e.Ref)
		if err != nil {
			return nil, err
		}
		if run != nil {
			m.Segment, m.At, m.text, m.Claims = run.Segment, run.At, run.text, run.Claims
			if e.Facts == nil {
				m.Verbs, m.Tables = run.Verbs, run.Tables
			}
			if m.text == "" && run.Prepare { // what cannot be read has no words
				if t, err := u.folder.TextAt(run.Segment, run.At, s.ID); err == nil {
					m.text = t.Text
				}
			}
		}
	}
	if e.Like != 0 && e.Facts == nil {
		like, err := u.known.find(s, e.Like)
		if err != nil {
			return nil, err
		}
		if like != nil {
			m.Verbs, m.Tables = like.Verbs, like.Tables
		}
	}
	if !m.Prepare && (e.Facts == nil || e.Ref != 0) {
		return m, nil // nothing refers to it
	}
	kept := *m
	if !m.Prepare || len(m.text) > maxKept {
		kept.text = ""
	}
	return m, u.known.keep(&kept)
}
