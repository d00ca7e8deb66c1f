package recorder

import (
	"context"
	"errors"
	"time"
)

// An Event is one record of a session, with what it refers to.
type Event struct {
	// Kind is open, login, prepare, request, result, outcome, cancel or close:
	// rows are in transcripts alone.
	// Whatever a session began with is told in it before any other.
	Kind    string
	Time    time.Time
	Session *Session
	Seq     uint64
	Ref     uint64
	Like    uint64 // what has the same facts; of EventsFrom only
	Text    Text   // of the prepare, for a request that runs one
	// Facts are what rules could ask about it, nil if there is nothing.
	Facts       *Facts
	Exceptional string // why a login is
	Again       bool   // it was held before, and told then
	Claims      map[string]string
	ClaimsCut   bool // there were others
	Loosens     Loosens
	Answer
	Columns []Column // of a result
	Done    Done     // of an outcome
	Note    *Note    // of a note, which EventsFrom tells
}

// A Session is what is known of a session by the record that is being read. It
// belongs to the reader.
type Session struct {
	Summary
	Seen
	facts map[uint64]*Facts
	texts map[uint64]asked // of prepares
}

// Asked is what a prepare brought, for the requests that run it.
type asked struct {
	text   Text
	claims map[string]string
	cut    bool
}

// Kept reports whether the session's records have facts.
func (s *Session) Kept() bool { return s.Default != "" }

// Events calls visit with the records of all sessions, in order, until it
// returns an error. With ErrDamaged it has told all that can be read. It tells
// progress, if not nil, how many of how many bytes are read.
//
// Sessions are begun before visit sees anything of them: a record of one whose
// first record is missing is left out.
func (d *Folder) Events(ctx context.Context, progress func(done, total int64), visit func(*Event) error) error {
	w, err := d.walk()
	if err != nil {
		return err
	}
	total := w.total
	w.close()
	t := telling{sessions: map[string]*Session{}, visit: visit}
	var done int64
	err = d.each(func(payload []byte) error {
		if done += int64(len(payload)) + frameHead; progress != nil && done>>16 != (done-int64(len(payload))-frameHead)>>16 {
			progress(done, total)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return t.add(payload)
	})
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

// ErrStop, returned by what Events visits, ends the reading: no error.
var ErrStop = errors.New("enough was read")

// A telling is the reading of all sessions at once.
type telling struct {
	sessions map[string]*Session
	visit    func(*Event) error
	// strangers: sessions whose first record is missing are told, too.
	strangers bool
}

func (t *telling) add(payload []byte) error {
	switch recordType(payload[1:]) {
	case "open", "tls", "login", "prepare", "request", "result", "outcome", "cancel", "close":
	default:
		return nil
	}
	r, err := parseRecord(payload)
	if err != nil {
		return nil // Verify names it
	}
	if r.Type == "open" {
		t.sessions[r.Session] = &Session{Summary: *summaryOf(r), facts: map[uint64]*Facts{}, texts: map[uint64]asked{}}
	}
	s := t.sessions[r.Session]
	if s == nil && t.strangers {
		s = &Session{Summary: Summary{ID: r.Session, State: Live}, facts: map[uint64]*Facts{}, texts: map[uint64]asked{}}
		t.sessions[r.Session] = s
	}
	if s == nil {
		return nil
	}
	s.update(r)
	e := &Event{
		Kind: r.Type, Time: r.Time, Session: s, Seq: r.Seq, Ref: r.Ref, Text: r.Text,
		Exceptional: r.Exceptional, Again: r.Again, Claims: r.Claims, ClaimsCut: r.ClaimsCut, Loosens: r.Loosens, Answer: r.Answer, Columns: r.Columns, Done: r.Done,
	}
	switch r.Type {
	case "tls":
		return nil
	case "close":
		delete(t.sessions, r.Session)
	case "login", "prepare", "request", "cancel", "result":
		t.asked(r, e)
	}
	return t.visit(e)
}

// asked adds what the record of something asked refers to, and keeps what others
// may refer to.
func (t *telling) asked(r *record, e *Event) {
	s := e.Session
	if len(r.Learned)+len(r.Watched)+len(r.Searches) > 0 || r.Bounds || r.Unsaid {
		s.Seen = r.Seen
	}
	e.Facts = r.facts(func(seq uint64) *Facts { return s.facts[seq] })
	if r.Type == "result" {
		return
	}
	if e.Facts != nil && (r.own() != nil || r.Type == "prepare") {
		s.facts[r.Seq] = e.Facts
	}
	switch {
	case r.Type == "prepare":
		s.texts[r.Seq] = asked{r.Text, r.Claims, r.ClaimsCut}
	case r.Ref != 0:
		p := s.texts[r.Ref]
		e.Text, e.Claims, e.ClaimsCut = p.text, p.claims, p.cut
	}
}
