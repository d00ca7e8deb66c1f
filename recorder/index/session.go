package index

import (
	"database/sql"
	"encoding/json"
	"errors"

	"agentd.dev/recorder"
)

// A session is one that the log is being read of.
type session struct {
	recorder.Summary
	number  int64
	last    int64 // its latest record
	latest  int64 // and when that was
	has     map[facet]bool
	static  []facet // that it gives its statements
	asked   map[uint64]*row
	known   map[uint64]*meaning
	away    bool // some of what is known is in the table
	written bool // some of what was asked is in the table
}

func newSession() *session {
	return &session{has: map[facet]bool{}, asked: map[uint64]*row{}, known: map[uint64]*meaning{}}
}

func (u *updating) open(e *recorder.Event, p recorder.Position) error {
	if old, err := u.session(p.Session); old != nil || err != nil {
		return err // an id that came twice: the first one stands
	}
	u.numbers++
	s := newSession()
	s.number, s.last, s.latest = u.numbers, p.Index, e.Time.UnixNano()
	s.Tell(e)
	text, err := json.Marshal(&s.Summary)
	if err != nil {
		return err
	}
	if _, err := u.addSession.Exec(s.number, s.ID, s.Start.UnixNano(), p.Index, s.last, s.latest, string(text)); err != nil {
		return err
	}
	u.sessions[s.ID] = s
	return u.describe(s)
}

// describe gives s the facets that its summary says.
func (u *updating) describe(s *session) error {
	s.static = s.static[:0]
	for _, w := range ofSession(&s.Summary) {
		f, err := u.naming.id(w[0], w[1])
		if err != nil {
			return err
		}
		s.static = append(s.static, f)
		if err := u.mark(s, f); err != nil {
			return err
		}
	}
	return u.mark(s, everything)
}

// mark notes that s, or one of its statements, has a facet.
func (u *updating) mark(s *session, f facet) error {
	if s.has[f] {
		return nil
	}
	s.has[f] = true
	return u.among.add(f, s.number)
}

// session returns the session with this id, nil if it is not known.
func (u *updating) session(id string) (*session, error) {
	if s := u.sessions[id]; s != nil {
		return s, nil
	}
	s := newSession()
	var record int64
	var state, text string
	err := u.findSession.QueryRow(id).Scan(&s.number, &record, &s.last, &s.latest, &state, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &s.Summary); err != nil {
		return nil, err
	}
	s.State, s.away = state, true
	if err := u.describe(s); err != nil {
		return nil, err
	}
	if err := u.recall(s); err != nil {
		return nil, err
	}
	u.sessions[id] = s
	return s, nil
}

// recall reads what of s had no outcome yet.
func (u *updating) recall(s *session) error {
	rows, err := u.getPending.Query(s.number)
	if err != nil {
		return err
	}
	defer rows.Close()
	ids := map[uint64]int64{}
	for rows.Next() {
		var seq, id int64
		if err := rows.Scan(&seq, &id); err != nil {
			return err
		}
		ids[uint64(seq)] = id
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for seq, id := range ids {
		r := &row{written: true}
		if err := errors.Join(r.scan(u.getRow.QueryRow(id)), r.resolve(u.word)); err != nil {
			return err
		}
		if r.late, err = u.lateOf(r); err != nil {
			return err
		}
		s.asked[seq], s.written = r, true
	}
	return nil
}

// word is the reverse of naming.id.
func (u *updating) word(id int64) (word string, err error) {
	if id != 0 {
		err = u.tx.QueryRow("select value from facets where id = ?", id).Scan(&word)
	}
	return word, err
}

// end is done with a session.
func (u *updating) end(s *session) error {
	for _, r := range s.asked {
		if err := u.settle(s, r); err != nil {
			return err
		}
	}
	if s.written {
		if _, err := u.dropPending.Exec(s.number); err != nil {
			return err
		}
	}
	if s.away {
		if _, err := u.known.drop.Exec(s.number); err != nil {
			return err
		}
	}
	clear(s.known)
	delete(u.sessions, s.ID)
	return u.save(s)
}

func (u *updating) save(s *session) error {
	if s.Denied > 0 { // as a login that was is no statement
		if err := u.mark(s, denied); err != nil {
			return err
		}
	}
	text, err := json.Marshal(&s.Summary)
	if err != nil {
		return err
	}
	_, err = u.saveSession.Exec(s.last, s.latest, s.State, string(text), s.number)
	return err
}

// putAway writes the sessions in memory, which may go on.
func (u *updating) putAway() error {
	for _, m := range u.known.queue {
		if err := u.known.write(m); err != nil {
			return err
		}
	}
	u.known.queue = nil
	for id, s := range u.sessions {
		if s.written {
			if _, err := u.dropPending.Exec(s.number); err != nil {
				return err
			}
		}
		for seq, r := range s.asked {
			if err := u.write(s, r); err != nil {
				return err
			}
			if _, err := u.addPending.Exec(s.number, int64(seq), r.id); err != nil {
				return err
			}
		}
		if err := u.save(s); err != nil {
			return err
		}
		delete(u.sessions, id)
	}
	return nil
}

// interrupted notes that recording ended, and with it what was going on, unless
// a record of it follows.
func (u *updating) interrupted() error {
	if err := u.putAway(); err != nil {
		return err
	}
	_, err := u.tx.Exec("update sessions set state = ? where state = 'live'", recorder.Interrupted)
	return err
}
