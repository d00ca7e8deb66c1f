package callback

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"

	"agentd.dev/agentd/approvals"
)

// A desk's answers, as HTTP has them.
var codes = []struct {
	err  error
	code int
}{
	{approvals.ErrUnknown, http.StatusNotFound},
	{approvals.ErrOver, http.StatusConflict},
	{approvals.ErrBarred, http.StatusForbidden},
	{approvals.ErrWrong, http.StatusBadRequest},
	{errWho, http.StatusUnauthorized},
	{errLink, http.StatusForbidden},
	{errPace, http.StatusTooManyRequests},
	{errRequest, http.StatusBadRequest},
	{errMedia, http.StatusUnsupportedMediaType},
}

var (
	errPace    = errors.New("too many requests from your address: try again in a minute")
	errRequest = errors.New(`this is no decision: send {"decision": "approve"} or {"decision": "deny", "reason": "..."}`)
	errMedia   = errors.New("send application/json")
)

func code(err error) int {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return http.StatusInternalServerError
}

// handler answers everything. What it does not know it answers in the same words
// whoever asks.
func (s *Server) handler() http.Handler {
	h := &handling{Server: s, failures: newPace(maxFailures), requests: newPace(maxRequests)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /approvals", h.list)
	mux.HandleFunc("GET /approvals/{id}", h.show)
	mux.HandleFunc("POST /approvals/{id}", h.decide)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		send(w, http.StatusNotFound, problem{"there is nothing here"})
	})
	slots := make(chan struct{}, maxConcurrent)
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		send(w, http.StatusForbidden, problem{"this was sent by another site"})
	}))
	inner := guard.Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Cache-Control", "no-store")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Strict-Transport-Security", "max-age=31536000")
		if h.requests.add(source(r.RemoteAddr), 1) {
			fail(w, errPace)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			send(w, http.StatusServiceUnavailable, problem{"agentd is answering too many requests: try again"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		inner.ServeHTTP(w, r)
	})
}

// A handling is a Server with what it knows of those who ask.
type handling struct {
	*Server
	failures, requests *pace
}

// A problem is the answer to what came to nothing.
type problem struct {
	Error string `json:"error"`
}

// known returns who a request is from, by its token. Who has failed too often is
// not looked at.
func (h *handling) known(r *http.Request, token string) (*Approver, error) {
	from := source(r.RemoteAddr)
	return h.counting(from, func() (*Approver, error) { return h.who(token) })
}

// counting counts what fails against an address.
func (h *handling) counting(from netip.Addr, f func() (*Approver, error)) (*Approver, error) {
	if h.failures.over(from) {
		return nil, errPace
	}
	a, err := f()
	if err != nil {
		h.failures.add(from, 1)
		return nil, err
	}
	return a, nil
}

func (h *handling) list(w http.ResponseWriter, r *http.Request) {
	if _, err := h.known(r, bearer(r)); err != nil {
		fail(w, err)
		return
	}
	list, _ := h.Desk.List(false)
	send(w, http.StatusOK, append([]approvals.Request{}, list[:min(len(list), maxListAnswers)]...))
}

// find returns the request of an id, which must be the whole of it.
func (h *handling) find(id string) (approvals.Request, error) {
	r, err := h.Desk.Find(id)
	if err != nil || r.ID != id {
		return approvals.Request{}, approvals.ErrUnknown
	}
	return r, nil
}

// show shows a request: to a tool in JSON, to whoever has a link as a page.
// It never decides.
func (h *handling) show(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if r.URL.Query().Has("t") {
		h.page(w, r, id)
		return
	}
	if _, err := h.known(r, bearer(r)); err != nil {
		fail(w, err)
		return
	}
	request, err := h.find(id)
	if err != nil {
		fail(w, err)
		return
	}
	send(w, http.StatusOK, request)
}

// decide takes a vote: a tool's in JSON, or the page's form.
func (h *handling) decide(w http.ResponseWriter, r *http.Request) {
	switch media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media {
	case "application/json":
		h.decideByTool(w, r)
	case "application/x-www-form-urlencoded":
		h.decideByForm(w, r)
	default:
		fail(w, errMedia)
	}
}

// A decision is what a tool sends.
type decision struct {
	Decision string `json:"decision"` // approve or deny
	Reason   string `json:"reason"`
	Shown    string `json:"shown"` // of the request as it was shown, "" for unseen
}

func (d *decision) grant() (bool, error) {
	switch d.Decision {
	case "approve":
		return true, nil
	case "deny":
		return false, nil
	}
	return false, errRequest
}

func (h *handling) decideByTool(w http.ResponseWriter, r *http.Request) {
	who, err := h.known(r, bearer(r))
	if err != nil { // before anything of the body is read
		fail(w, err)
		return
	}
	var d decision
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		fail(w, errRequest)
		return
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		fail(w, errRequest)
		return
	}
	request, err := h.vote(r.PathValue("id"), &d, who)
	if err != nil {
		fail(w, err)
		return
	}
	send(w, http.StatusOK, request)
}

// vote brings a decision to the desk.
func (h *handling) vote(id string, d *decision, who *Approver) (approvals.Request, error) {
	grant, err := d.grant()
	if err != nil {
		return approvals.Request{}, err
	}
	if _, err := h.find(id); err != nil {
		return approvals.Request{}, err
	}
	request, err := h.Desk.Vote(id, grant, who.voter(), d.Reason, d.Shown)
	if err != nil {
		h.Log.Info("a decision was refused", "id", id, "approver", who.Name, "error", err)
	}
	return request, err
}

func fail(w http.ResponseWriter, err error) {
	c := code(err)
	if c == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if c == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	send(w, c, problem{err.Error()})
}

// send writes v as JSON. That the client is gone is the client's business.
func send(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
