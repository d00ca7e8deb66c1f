package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/recorder"
)

const (
	// waitTime is how long a request for what is not there yet waits.
	waitTime = 25 * time.Second
	// maxWaiting is how many of those there may be at once.
	maxWaiting = 16
	// before is how many entries of a session are shown with a request.
	before = 20
)

// An ApprovalFilter chooses requests for approval; a zero field chooses all that
// are pending.
type ApprovalFilter struct {
	All              bool // those that are over, too
	Workload, Target string
	// Since, unless it is 0, has the answer wait, for a while, until there
	// is another version than this.
	Since uint64
}

// Approvals are those that a filter chose, by when they were asked for.
type Approvals struct {
	Version   uint64              `json:"version"` // of the list; for ApprovalFilter.Since
	Approvals []approvals.Request `json:"approvals"`
}

// An Approval is a request for approval with the session so far.
type Approval struct {
	approvals.Request
	// Before are the last entries of the session before the request, but for
	// what agentd itself asked, and Earlier is how many there were before them.
	Before  []*recorder.Entry `json:"before"`
	Earlier int               `json:"earlier"`
	Damage  string            `json:"damage,omitempty"` // why some may be missing
}

// A Decision is what a person says about a request for approval.
type Decision struct {
	Reason string `json:"reason,omitempty"`
	// Shown is the digest of what the person was shown, "" if that is not known.
	Shown string `json:"shown,omitempty"`
}

// Approvals asks for the requests that f chooses.
func (c *Client) Approvals(ctx context.Context, f ApprovalFilter) (Approvals, error) {
	return ask[Approvals](ctx, c, http.MethodGet, "/v1/approvals?"+f.values().Encode(), nil)
}

// Approval asks for one request by its id or a prefix of only its.
func (c *Client) Approval(ctx context.Context, prefix string) (Approval, error) {
	return ask[Approval](ctx, c, http.MethodGet, "/v1/approvals/"+url.PathEscape(prefix), nil)
}

// Approve lets the request with this id through, and Deny does not.
func (c *Client) Approve(ctx context.Context, id string, d Decision) (approvals.Request, error) {
	return ask[approvals.Request](ctx, c, http.MethodPost, "/v1/approvals/"+url.PathEscape(id)+"/approve", d)
}

// Deny refuses the request with this id.
func (c *Client) Deny(ctx context.Context, id string, d Decision) (approvals.Request, error) {
	return ask[approvals.Request](ctx, c, http.MethodPost, "/v1/approvals/"+url.PathEscape(id)+"/deny", d)
}

// Desk is where requests for approval are, and who may not decide there.
type Desk struct {
	*approvals.Desk
	// Captured names the captured workload that a cgroup, by its directory, is
	// in; "" for none.
	Captured func(cgroup string) string
}

func (s *Server) approvals(r *http.Request, _ Peer) (any, error) {
	f, err := parseApprovalFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	if f.Since != 0 {
		if err := s.awaitChange(r.Context(), f.Since); err != nil {
			return nil, err
		}
	}
	list, version := s.Desk.List(f.All)
	answer := Approvals{Version: version, Approvals: []approvals.Request{}}
	for _, a := range list {
		if (f.Workload == "" || a.Workload.Name == f.Workload) && (f.Target == "" || a.Target == f.Target) {
			answer.Approvals = append(answer.Approvals, a)
		}
	}
	return answer, nil
}

// awaitChange waits until the list is another than that of a version, or for a
// while.
func (s *Server) awaitChange(ctx context.Context, version uint64) error {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return &Error{Code: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d wait for approvals already: try again", maxWaiting)}
	}
	enough := time.NewTimer(waitTime)
	defer enough.Stop()
	select {
	case <-s.Desk.Changed(version):
	case <-enough.C:
	case <-ctx.Done():
	case <-s.ending:
	}
	return nil
}

func (s *Server) approval(r *http.Request, _ Peer) (any, error) {
	found, err := s.Desk.Find(r.PathValue("id"))
	if err != nil {
		return nil, refusal(err)
	}
	a := Approval{Request: found, Before: []*recorder.Entry{}}
	session, err := ReadSession(s.Folder, found.Session)
	if err != nil { // observation fails open: it can be decided on without
		a.Damage = err.Error()
		return a, nil
	}
	a.Damage = session.Damage
	for _, e := range session.Entries {
		if e.Seq < found.Seq && e.Kind != "own" { // which agentd has asked
			a.Before = append(a.Before, e)
		}
	}
	if a.Earlier = max(0, len(a.Before)-before); a.Earlier > 0 {
		a.Before = a.Before[a.Earlier:]
	}
	return a, nil
}

func (s *Server) approve(r *http.Request, by Peer) (any, error) { return s.decide(r, by, true) }

func (s *Server) deny(r *http.Request, by Peer) (any, error) { return s.decide(r, by, false) }

func (s *Server) decide(r *http.Request, by Peer, grant bool) (any, error) {
	var d Decision
	if err := receive(r.Body, &d); err != nil {
		return nil, err
	}
	voter, err := by.voter(s.Desk.Captured)
	if err != nil {
		return nil, err
	}
	found, err := s.Desk.Find(r.PathValue("id"))
	if err != nil {
		return nil, refusal(err)
	}
	after, err := s.Desk.Vote(found.ID, grant, voter, d.Reason, d.Shown)
	if err != nil {
		return nil, refusal(err)
	}
	s.Log.Info("request for approval decided", "id", after.ID, "state", after.State, "by", voter.String(), "peer", by.String())
	return after, nil
}

// refusal is what is wrong with what was asked of the desk.
func refusal(err error) error {
	for _, kind := range []struct {
		is   error
		code int
	}{
		{approvals.ErrUnknown, http.StatusNotFound},
		{approvals.ErrOver, http.StatusConflict},
		{approvals.ErrBarred, http.StatusForbidden},
		{approvals.ErrWrong, http.StatusBadRequest},
	} {
		if errors.Is(err, kind.is) {
			return &Error{Code: kind.code, Message: err.Error()}
		}
	}
	return err
}

// values is the reverse of parseApprovalFilter.
func (f ApprovalFilter) values() url.Values {
	q := url.Values{}
	for name, text := range map[string]string{"workload": f.Workload, "target": f.Target} {
		if text != "" {
			q.Set(name, text)
		}
	}
	if f.All {
		q.Set("all", "true")
	}
	if f.Since != 0 {
		q.Set("since", strconv.FormatUint(f.Since, 10))
	}
	return q
}

// parseApprovalFilter reads a filter from a query. A name it does not know is an
// error, so that no filter is lost in silence.
func parseApprovalFilter(q url.Values) (f ApprovalFilter, err error) {
	for name, values := range q {
		value := values[len(values)-1]
		switch name {
		case "workload":
			f.Workload = value
		case "target":
			f.Target = value
		case "all":
			f.All, err = strconv.ParseBool(value)
		case "since":
			f.Since, err = strconv.ParseUint(value, 10, 64)
		default:
			err = errors.New("approvals cannot be chosen by it")
		}
		if err != nil {
			return f, badRequest("%s: %v", name, err)
		}
	}
	return f, nil
}
