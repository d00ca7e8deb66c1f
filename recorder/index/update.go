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

// update reads what was recorded since, in one transaction: from the last record
// that the index has, to see that it is there.
func (x *Index) update(ctx context.Context, progress func(done, total int64)) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing, once committed
	u := updating{tx: tx, folder: x.folder, last: recorder.Position{Index: -1}}
	var made, segment, at int64
	if err := tx.QueryRow("select version, records, leaf, segment, at from upto").Scan(&made, &u.has, &u.leaf, &segment, &at); err != nil {
		return err
	}
	if made != version {
		return fmt.Errorf("it is of version %d, this is %d", made, version)
	}
	if err := u.begin(); err != nil {
		return err
	}
	damage := x.folder.EventsFrom(ctx, segment, at, progress, u.visit)
	if damage != nil && !errors.Is(damage, recorder.ErrDamaged) {
		return damage
	}
	if u.has > 0 && !u.same {
		return errors.New("the log is not the one it was made of")
	}
	if u.last.Index < u.has {
		return damage // nothing is new
	}
	if err := u.finish(); err != nil {
		return err
	}
	clear(x.names)
	return errors.Join(tx.Commit(), damage)
}

// An updating is one reading of the log.
type updating struct {
	tx       *sql.Tx
	folder   *recorder.Folder
	has      int64  // records that the index has
	leaf     []byte // hash of the last of these
	same     bool   // it was seen in the log
	last     recorder.Position
	naming   *naming
	postings *posting // of statements, by the index of their record
	among    *posting // of sessions, by their number
	sessions map[string]*session
	numbers  int64 // of the latest session
	block    span
	known    remembered
	marked   int64 // the last record that is a mark
	lexicon  map[string]bool

	addSession, saveSession, findSession, addRow, getRow, addWords, addWord, addBlock,
	addPending, getPending, dropPending, addVote, getVotes *sql.Stmt
}

// A span is when a block's statements were asked.
type span struct{ block, first, last int64 }

func (u *updating) begin() (err error) {
	u.sessions, u.lexicon = map[string]*session{}, map[string]bool{}
	for _, s := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&u.addSession, "insert into sessions values (?,?,?,?,?,?,'live',?)"},
		{&u.saveSession, "update sessions set last = ?, latest = ?, state = ?, summary = ? where id = ?"},
		{&u.findSession, "select id, record, last, latest, state, summary from sessions where name = ?"},
		{&u.addRow, "insert or replace into statements values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
		{&u.getRow, "select " + rowColumns + " from statements s where id = ?"},
		{&u.addWords, "insert into words (rowid, text) values (?,?)"},
		{&u.addWord, "insert or ignore into lexicon values (?)"},
		{&u.addBlock, "insert into blocks values (?1,?2,?3) on conflict do update set first = min(first, ?2), last = max(last, ?3)"},
		{&u.addPending, "insert or replace into pending values (?,?,?)"},
		{&u.getPending, "select seq, id from pending where session = ?"},
		{&u.dropPending, "delete from pending where session = ?"},
		{&u.addVote, "insert into votes values (?,?,?)"},
		{&u.getVotes, "select who, groups from votes where approval = ?"},
		{&u.known.add, "insert or replace into known values (?,?,?)"},
		{&u.known.get, "select what from known where session = ? and seq = ?"},
		{&u.known.drop, "delete from known where session = ?"},
	} {
		if *s.to, err = u.tx.Prepare(s.text); err != nil {
			return err
		}
	}
	if u.naming, err = newNaming(u.tx); err != nil {
		return err
	}
	if u.postings, err = newPosting(u.tx, "postings"); err != nil {
		return err
	}
	if u.among, err = newPosting(u.tx, "in_sessions"); err != nil {
		return err
	}
	return u.tx.QueryRow("select coalesce(max(id), 0) from sessions").Scan(&u.numbers)
}

// finish writes what is in memory.
func (u *updating) finish() error {
	if err := u.putAway(); err != nil {
		return err
	}
	if err := errors.Join(u.postings.flushAll(), u.among.flushAll(), u.endBlock()); err != nil {
		return err
	}
	_, err := u.tx.Exec("update upto set records = ?, leaf = ?, segment = ?, at = ?",
		u.last.Index+1, u.last.Leaf[:], u.last.Segment, u.last.Offset)
	return err
}

var errOther = errors.New("the log is not the one it was made of")

func (u *updating) visit(e *recorder.Event, p recorder.Position) error {
	switch {
	case p.Index < u.has:
		u.same = u.same || p.Index == u.has-1 && bytes.Equal(p.Leaf[:], u.leaf)
		return nil
	case u.has > 0 && !u.same:
		return errOther
	case p.Index <= u.last.Index:
		return nil // the log is damaged: what comes again is not taken for new
	}
	u.last = p
	if err := u.milestone(p); err != nil {
		return err
	}
	switch {
	case p.Kind == "stop" || p.Kind == "start":
		return u.interrupted() // a start that continues is followed by records of those that go on
	case e != nil && e.Kind == "note":
		return u.note(e.Note)
	case p.Session == "":
		return nil
	case p.Kind == "open":
		if e == nil {
			return nil
		}
		return u.open(e, p)
	}
	s, err := u.session(p.Session)
	if s == nil || err != nil {
		return err // its first record cannot be read
	}
	s.last = p.Index
	switch {
	case p.Kind == "interrupted":
		s.State = recorder.Interrupted
		return nil
	case s.State != recorder.Ended:
		s.State = recorder.Live
	}
	if e == nil {
		return nil
	}
	s.Tell(e)
	s.latest = e.Time.UnixNano()
	if e.Kind == "close" {
		return u.end(s)
	}
	return u.event(s, e, p)
}

// note keeps how people voted.
func (u *updating) note(n *recorder.Note) error {
	if n.Kind != "approval" {
		return nil
	}
	switch n.Text {
	case "agreed", "granted", "denied":
	default:
		return nil
	}
	for _, key := range []string{"by", "as", "subject"} {
		if who := n.Attrs[key]; who != "" {
			if _, err := u.addVote.Exec(n.Attrs["id"], who, n.Attrs["groups"]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *updating) event(s *session, e *recorder.Event, p recorder.Position) (err error) {
	switch e.Kind {
	case "login":
		return u.describe(s)
	case "prepare", "request":
		if r := s.asked[e.Seq]; r != nil && e.Again {
			r.verdict, r.rule, r.approval = e.Verdict, e.Rule, e.Approval
			return nil
		}
		k, err := u.meaning(s, e, p)
		if err != nil || e.Kind == "prepare" && allowed(e.Verdict) {
			return err // the requests that run it are what is found
		}
		return u.statement(s, e, p, k)
	case "result":
		if r := s.asked[e.Seq]; r != nil && !allowed(e.Verdict) {
			r.verdict, r.rule, r.approval = e.Verdict, e.Rule, e.Approval
		}
	case "outcome":
		if r := s.asked[e.Seq]; r != nil && !e.Done.Own {
			r.rows, r.ns, r.code = e.Done.Rows, int64(e.Done.Took), e.Done.Code
			err = u.settle(s, r)
		}
		for seq := e.Seq + 1; seq <= e.Done.Through && len(s.asked) > 0; seq++ {
			if r := s.asked[seq]; r != nil {
				err = errors.Join(err, u.settle(s, r))
			}
		}
	}
	return err
}

func allowed(verdict string) bool { return verdict == "" || verdict == "allow" }

// lower is a list that an event's facts have.
func lower(f *recorder.Facts, name string) []string {
	if f == nil {
		return nil
	}
	all, _ := f.Field(name).([]string)
	return strings.Fields(strings.ToLower(strings.Join(all, " ")))
}
