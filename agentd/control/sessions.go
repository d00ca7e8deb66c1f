package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"filippo.io/age"

	"agentd.dev/recorder"
)

// A SessionFilter chooses sessions; a zero field chooses all.
type SessionFilter struct {
	recorder.Filter
	Denied bool // only sessions in which something was refused
}

// Sessions are those that a filter chose, by start.
type Sessions struct {
	Sessions []recorder.Summary `json:"sessions"`
	Damage   string             `json:"damage,omitempty"` // why some may be missing
	Hidden   recorder.Hidden    `json:"hidden,omitzero"`  // segments that others may be in
}

// A Session is everything that was recorded of one.
type Session struct {
	*recorder.Transcript
	Damage string `json:"damage,omitempty"` // why some of it may be missing
}

// ReadSessions lists the sessions in a log folder. A damaged log is no error:
// it is told with what could be read.
// The identities read what is encrypted to them.
func ReadSessions(folder string, f SessionFilter, ids ...age.Identity) (Sessions, error) {
	log, err := recorder.OpenFolder(folder, ids...)
	if err != nil {
		return Sessions{}, fmt.Errorf("open the log folder: %w", err)
	}
	limit := f.Limit
	if f.Denied {
		f.Limit = 0 // the latest of those with refusals, not those among the latest
	}
	list, err := log.Sessions(f.Filter)
	if err != nil && !errors.Is(err, recorder.ErrDamaged) {
		return Sessions{}, fmt.Errorf("read the log: %w", err)
	}
	if f.Denied {
		list = latest(limit, denied(list))
	}
	hidden, _ := log.Hidden() // what was not to be found out was said above
	return Sessions{Sessions: notNil(list), Damage: text(err), Hidden: hidden}, nil
}

// ReadSession returns the session in a log folder whose id is, or alone begins
// with, prefix.
func ReadSession(folder, prefix string, ids ...age.Identity) (Session, error) {
	log, err := recorder.OpenFolder(folder, ids...)
	if err != nil {
		return Session{}, fmt.Errorf("open the log folder: %w", err)
	}
	t, err := log.Session(prefix)
	if t == nil {
		return Session{}, err
	}
	return Session{Transcript: t, Damage: text(err)}, nil
}

// denied returns the sessions in which something was refused.
func denied(list []recorder.Summary) (kept []recorder.Summary) {
	for _, s := range list {
		if s.Denied > 0 {
			kept = append(kept, s)
		}
	}
	return kept
}

// latest returns the last n of list, all if n is 0.
func latest(n int, list []recorder.Summary) []recorder.Summary {
	if n > 0 && len(list) > n {
		return list[len(list)-n:]
	}
	return list
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Sessions asks for the sessions that f chooses.
func (c *Client) Sessions(ctx context.Context, f SessionFilter) (Sessions, error) {
	return ask[Sessions](ctx, c, http.MethodGet, "/v1/sessions?"+f.values().Encode(), nil)
}

// Session asks for one session by its id or a prefix of only its.
func (c *Client) Session(ctx context.Context, prefix string) (Session, error) {
	return ask[Session](ctx, c, http.MethodGet, "/v1/sessions/"+url.PathEscape(prefix), nil)
}

func (s *Server) sessions(r *http.Request, _ Peer) (any, error) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return ReadSessions(s.Folder, f)
}

func (s *Server) session(r *http.Request, _ Peer) (any, error) {
	session, err := ReadSession(s.Folder, r.PathValue("id"))
	var unreadable *fs.PathError
	if err != nil && !errors.As(err, &unreadable) {
		return nil, notFound("%v", err)
	}
	return session, err
}

// values is the reverse of parseFilter.
func (f SessionFilter) values() url.Values {
	q := url.Values{}
	for name, field := range f.texts() {
		if *field != "" {
			q.Set(name, *field)
		}
	}
	for name, field := range f.times() {
		if !field.IsZero() {
			q.Set(name, field.Format(time.RFC3339Nano))
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Denied {
		q.Set("denied", "true")
	}
	return q
}

// parseFilter reads a filter from a query. A name it does not know is an
// error, so that no filter is lost in silence.
func parseFilter(q url.Values) (f SessionFilter, err error) {
	texts, times := f.texts(), f.times()
	for name, values := range q {
		if len(values) > 1 {
			return f, badRequest("%s is given %d times", name, len(values))
		}
		value := values[0]
		switch {
		case texts[name] != nil:
			*texts[name] = value
		case times[name] != nil:
			*times[name], err = time.Parse(time.RFC3339Nano, value)
		case name == "limit":
			f.Limit, err = strconv.Atoi(value)
		case name == "denied":
			f.Denied, err = strconv.ParseBool(value)
		default:
			err = errors.New("sessions cannot be chosen by it")
		}
		if err != nil {
			return f, badRequest("%s: %v", name, err)
		}
	}
	return f, nil
}

// texts are the fields that are texts, by their names in a query.
func (f *SessionFilter) texts() map[string]*string {
	return map[string]*string{
		"workload":  &f.Workload,
		"target":    &f.Target,
		"user":      &f.User,
		"database":  &f.Database,
		"state":     &f.State,
		"namespace": &f.Namespace,
		"pod":       &f.Pod,
		"claim":     &f.Claim,
	}
}

// times are the fields that are times, by their names in a query.
func (f *SessionFilter) times() map[string]*time.Time {
	return map[string]*time.Time{"since": &f.Since, "until": &f.Until}
}
