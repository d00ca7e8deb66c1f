package index

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"agentd.dev/recorder"
)

// update reads what was recorded since, in one transaction. It reads again from
// where the oldest session began that may go on, for what later records refer
// to, else from the last record that it has, to see that it is there; records that it has are not added again.
func (x *Index) update(ctx context.Context, progress func(done, total int64)) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing, once committed
	hidden, err := x.folder.Hidden()
	if err != nil {
		return err
	}
	u := updating{tx: tx, partial: hidden != recorder.Hidden{}, sessions: map[string]*session{}, last: recorder.Position{Index: -1}}
	var made, segment, at int64
	if err := tx.QueryRow("select version, records, leaf, segment, at from upto").Scan(&made, &u.has, &u.leaf, &segment, &at); err != nil {
		return err
	}
	if made != version {
		return fmt.Errorf("it is of version %d, this is %d", made, version)
	}
	if err := u.prepare(); err != nil {
		return err
	}
	damage := x.folder.EventsFrom(ctx, segment, at, progress, u.visit)
	if damage != nil && !errors.Is(damage, recorder.ErrDamaged) {
		return damage
	}
	if u.has > 0 && !u.same {
		return errors.New("the log is not the one it was made of")
	}
	from := u.oldest()
	if _, err := tx.Exec("update upto set records = ?, leaf = ?, segment = ?, at = ?",
		u.last.Index+1, u.last.Leaf[:], from.Segment, from.Offset); err != nil {
		return err
	}
	return errors.Join(tx.Commit(), damage)
}

// An updating is one reading of the log.
type updating struct {
	tx       *sql.Tx
	has      int64  // records that the index has
	leaf     []byte // hash of the last of these
	partial  bool   // some records cannot be read: sessions may have begun in them
	same     bool   // it was seen in the log
	last     recorder.Position
	sessions map[string]*session // that have not ended

	addSession, login, add, words, answer, done *sql.Stmt
}

// A session is one that goes on.
type session struct {
	first    recorder.Position
	cut      bool // recording ended before it did
	prepares map[uint64]recorder.Position
	asked    map[uint64]int64 // seq to id of what has no outcome yet
}

func (u *updating) prepare() (err error) {
	for _, s := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&u.addSession, "insert into sessions values (?,?,?,?,?,?,?,?,?,?,'','')"},
		{&u.login, "update sessions set user = ?, database = ? where id = ?"},
		{&u.add, "insert into statements values (?,?,?,?,?,?,?,?,?,?,?,?,0,0,'')"},
		{&u.words, "insert into words (rowid, text) values (?,?)"},
		{&u.answer, "update statements set verdict = ?, rule = ?, approval = ? where id = ?"},
		{&u.done, "update statements set rows = ?, ns = ?, code = ? where id = ?"},
	} {
		if *s.to, err = u.tx.Prepare(s.text); err != nil {
			return err
		}
	}
	return nil
}

func (u *updating) visit(e *recorder.Event, p recorder.Position) error {
	if p.Index == u.has-1 {
		u.same = bytes.Equal(p.Leaf[:], u.leaf)
	}
	if p.Index == u.has && u.has > 0 && !u.same {
		return errors.New("the log is not the one it was made of")
	}
	u.last = p
	switch {
	case p.Kind == "stop" || p.Kind == "start":
		for _, s := range u.sessions {
			s.cut = true // wrong of a start that continues: then resumed, or any record, follows
		}
		return nil
	case p.Session == "" || p.Kind == "interrupted":
		return nil
	case e == nil:
		return u.unknown(p)
	case e.Kind == "open":
		return u.open(e, p)
	}
	s := u.sessions[p.Session]
	if s == nil {
		return nil // its end was there before
	}
	s.cut = false
	if e.Kind == "close" {
		delete(u.sessions, p.Session)
		return nil
	}
	return u.event(s, e, p)
}

// unknown is a record of a session that began where this did not read.
func (u *updating) unknown(p recorder.Position) error {
	if s := u.sessions[p.Session]; s != nil {
		s.cut = false
		return nil
	}
	if p.Index >= u.has && u.has > 0 && p.Kind != "tls" && !u.partial {
		return fmt.Errorf("session %s goes on, which was taken for interrupted", p.Session)
	}
	return nil
}

func (u *updating) open(e *recorder.Event, p recorder.Position) error {
	u.sessions[p.Session] = &session{first: p, prepares: map[uint64]recorder.Position{}, asked: map[uint64]int64{}}
	if p.Index < u.has {
		return nil
	}
	s := &e.Session.Summary
	_, err := u.addSession.Exec(p.Index, s.ID, s.Start.UnixNano(), s.Workload, s.Namespace, s.Pod, s.ServiceAccount, s.Target, s.Host, s.Protocol)
	return err
}

func (u *updating) event(s *session, e *recorder.Event, p recorder.Position) (err error) {
	fresh := p.Index >= u.has
	switch e.Kind {
	case "login":
		if fresh {
			_, err = u.login.Exec(e.Session.User, e.Session.Database, s.first.Index)
		}
	case "prepare", "request":
		if e.Kind == "prepare" {
			s.prepares[e.Seq] = p
		}
		if e.Kind == "prepare" && allowed(e.Verdict) {
			return nil // the requests that run it are what is found
		}
		if id, ok := s.asked[e.Seq]; ok && e.Again {
			if fresh {
				_, err = u.answer.Exec(e.Verdict, e.Rule, e.Approval, id)
			}
			return err
		}
		s.asked[e.Seq] = p.Index
		if fresh {
			err = u.statement(s, e, p)
		}
	case "result":
		if id, ok := s.asked[e.Seq]; ok && fresh && !allowed(e.Verdict) {
			_, err = u.answer.Exec(e.Verdict, e.Rule, e.Approval, id)
		}
	case "outcome":
		if id, ok := s.asked[e.Seq]; ok && !e.Done.Own {
			delete(s.asked, e.Seq)
			if fresh {
				_, err = u.done.Exec(e.Done.Rows, int64(e.Done.Took), e.Done.Code, id)
			}
		}
		for seq := e.Seq + 1; seq <= e.Done.Through && len(s.asked) > 0; seq++ {
			delete(s.asked, seq)
		}
	}
	return err
}

func (u *updating) statement(s *session, e *recorder.Event, p recorder.Position) error {
	at := p
	if e.Ref != 0 {
		at = s.prepares[e.Ref]
	}
	_, err := u.add.Exec(p.Index, s.first.Index, e.Seq, e.Time.UnixNano(), e.Kind, at.Segment, at.Offset,
		list(e, "sql.verbs"), list(e, "sql.tables"), e.Verdict, e.Rule, e.Approval)
	if err != nil {
		return err
	}
	_, err = u.words.Exec(p.Index, e.Text.Text)
	return err
}

// oldest is where to read from the next time.
func (u *updating) oldest() recorder.Position {
	oldest := u.last
	for _, s := range u.sessions {
		if !s.cut && s.first.Index < oldest.Index {
			oldest = s.first
		}
	}
	return oldest
}

func allowed(verdict string) bool { return verdict == "" || verdict == "allow" }

// list is a field that is a list, each between spaces, in lower case.
func list(e *recorder.Event, name string) string {
	if e.Facts == nil {
		return ""
	}
	all, _ := e.Facts.Field(name).([]string)
	if len(all) == 0 {
		return ""
	}
	return " " + strings.ToLower(strings.Join(all, " ")) + " "
}
