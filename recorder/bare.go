package recorder

import "encoding/json"

// bare is add for those who keep for themselves what later records refer to:
// each record is told as it stands. Of sessions, those which begin, log in or
// end are told what the record says of them; notes, which belong to none, with
// what is in them.
func (t *telling) bare(payload []byte) error {
	kind := recordType(payload[1:])
	switch kind {
	case "open", "tls", "login", "prepare", "request", "result", "outcome", "cancel", "close":
	case "note":
		var n Note
		if err := json.Unmarshal(payload[1:], &n); err != nil {
			return nil
		}
		return t.visit(&Event{Kind: kind, Note: &n})
	default:
		return nil
	}
	r, err := parseRecord(payload)
	if err != nil {
		return nil // Verify names it
	}
	e := &Event{
		Kind: r.Type, Time: r.Time, Seq: r.Seq, Ref: r.Ref, Like: r.Like, Text: r.Text, Exceptional: r.Exceptional, Again: r.Again,
		Claims: r.Claims, ClaimsCut: r.ClaimsCut, Loosens: r.Loosens, Answer: r.Answer, Columns: r.Columns, Done: r.Done, Facts: r.own(),
	}
	switch r.Type {
	case "open", "tls", "login", "close":
		e.Session = &Session{Summary: *summaryOf(r)}
		e.Session.update(r)
	}
	return t.visit(e)
}

// A Note is a record of the daemon, in no session.
type Note struct {
	Kind  string            `json:"kind"`
	Text  string            `json:"text"`
	Attrs map[string]string `json:"attrs"`
}

// Recording reports whether a recorder is writing the folder now: its sessions
// without an end go on.
func (d *Folder) Recording() (bool, error) { return locked(d.open.dir) }

// Tell adds to a summary what a bare event of its session says.
func (s *Summary) Tell(e *Event) {
	switch e.Kind {
	case "open":
		*s = e.Session.Summary
	case "tls":
		s.Scope, s.ClientTLS, s.ServerTLS = e.Session.Scope, e.Session.ClientTLS, e.Session.ServerTLS
	case "login":
		l := &e.Session.Summary
		s.User, s.Database, s.Application, s.Credential, s.As = l.User, l.Database, l.Application, l.Credential, l.As
		s.claim(e.Claims)
	case "close":
		c := &e.Session.Summary
		s.State, s.End, s.Outcome = Ended, c.End, c.Outcome
		s.Statements, s.Denied, s.Failed = c.Statements, c.Denied, c.Failed
		s.Rows, s.Bytes, s.Masked = c.Rows, c.Bytes, c.Masked
		s.FromClient, s.FromServer = c.FromClient, c.FromServer
		return
	}
	s.count(&record{Type: e.Kind, Time: e.Time, Answer: e.Answer, Done: e.Done})
}
