package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"agentd.dev/recorder"
)

// What following the record may cost.
const (
	maxTails = 8
	tailTime = 10 * time.Second // that a reader may take for what was sent
	tailBeat = 5 * time.Second  // between signs of life
)

// A TailFilter chooses what of the record is followed.
type TailFilter struct {
	recorder.Which
	After    int64 // the record to begin with; negative for what comes
	Sessions bool  // tell with each statement all that is known of its session
}

// A Told is one line of what is followed: a statement, or how many records were
// left out because the reader was too slow, or neither as a sign of life.
type Told struct {
	Statement *recorder.Statement `json:"statement,omitempty"`
	Session   *recorder.Summary   `json:"session,omitempty"`
	Lost      int64               `json:"lost,omitempty"`
}

// Tail tells what agentd records from now on, until ctx ends or tell returns an
// error.
func (c *Client) Tail(ctx context.Context, f TailFilter, tell func(Told) error) error {
	which, err := json.Marshal(f.Which)
	if err != nil {
		return err
	}
	q := url.Values{"which": {string(which)}, "after": {strconv.FormatInt(f.After, 10)}, "sessions": {strconv.FormatBool(f.Sessions)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agentd/v1/tail?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	endless := http.Client{Transport: c.http.Transport}
	resp, err := endless.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return read(resp, &struct{}{})
	}
	dec := json.NewDecoder(bufio.NewReader(resp.Body))
	for {
		var t Told
		if err := dec.Decode(&t); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("agentd has stopped telling, as it does when it ends or what it tells is not read: %w", err)
		}
		if t.Statement == nil && t.Lost == 0 {
			continue
		}
		if err := tell(t); err != nil {
			return err
		}
	}
}

// tail follows the record for one reader. It reads the files: nothing of the data
// path knows of it. A reader that does not read is cut off.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) {
	if _, known := r.Context().Value(peerKey{}).(Peer); !known {
		send(w, http.StatusForbidden, &Error{Message: "the kernel does not say who is asking"})
		return
	}
	f, err := parseTail(r.URL.Query())
	if err != nil {
		send(w, http.StatusBadRequest, err)
		return
	}
	select {
	case s.tails <- struct{}{}:
		defer func() { <-s.tails }()
	default:
		send(w, http.StatusServiceUnavailable, &Error{Message: fmt.Sprintf("%d follow the record already: end one of them", maxTails)})
		return
	}
	folder, bad := recorder.OpenFolder(s.Folder)
	if bad != nil {
		send(w, http.StatusInternalServerError, &Error{Message: bad.Error()})
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	t := teller{w: w, rc: http.NewResponseController(w)}
	t.rc.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	err2 := folder.Tail(ctx, f.After, func(st *recorder.Statement, o *recorder.Summary) error {
		if !f.Fits(st) {
			return nil
		}
		if !f.Sessions {
			o = nil
		}
		return t.tell(Told{Statement: st, Session: o})
	}, func(records int64) error { return t.tell(Told{Lost: records}) }, t.idle)
	if err2 != nil && ctx.Err() == nil {
		s.Log.Debug("a reader of the record is cut off", "error", err2)
	}
}

// A teller writes lines, each of which must be taken in time.
type teller struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	last time.Time // that something was flushed
	some bool      // something was not
}

func (t *teller) tell(v Told) error {
	if err := t.rc.SetWriteDeadline(time.Now().Add(tailTime)); err != nil {
		return err
	}
	t.some = true
	return json.NewEncoder(t.w).Encode(v)
}

// idle sends what is there, and a sign of life now and then.
func (t *teller) idle() error {
	if !t.some && time.Since(t.last) < tailBeat {
		return nil
	}
	if !t.some {
		if err := t.tell(Told{}); err != nil {
			return err
		}
	}
	t.some, t.last = false, time.Now()
	return t.rc.Flush()
}

func parseTail(q url.Values) (f TailFilter, bad *Error) {
	for name, values := range q {
		var err error
		switch value := values[0]; name {
		case "which":
			err = receive(strings.NewReader(value), &f.Which)
		case "after":
			f.After, err = strconv.ParseInt(value, 10, 64)
		case "sessions":
			f.Sessions, err = strconv.ParseBool(value)
		default:
			err = errors.New("what is followed cannot be chosen by it")
		}
		if err != nil {
			return f, badRequest("%s: %v", name, err)
		}
	}
	return f, nil
}
