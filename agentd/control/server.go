package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// What a request may cost.
const (
	maxBody       = 64 << 10
	maxHeader     = 16 << 10
	maxConcurrent = 48
	headerTime    = 5 * time.Second
	requestTime   = 60 * time.Second
	drainTime     = 5 * time.Second
)

// A Server answers the API. All fields that are exported, but Metrics,
// must be set before Serve.
type Server struct {
	Log      *slog.Logger
	Reporter Reporter
	Runs     Runs
	// Connections lists those of captured workloads that agentd does not see.
	Connections func(context.Context) ([]Connection, error)
	Folder      string       // the log folder that sessions are read from
	Metrics     http.Handler // answers /metrics; nil if there are none
	Desk        Desk         // where requests for approval are
	Keeper      Keeper
	// RotateKey has a new key sign the log, by order of who asks.
	RotateKey func(by string) (KeyRotation, error)

	waiting chan struct{} // holds one for each that waits for a change
	tails   chan struct{} // holds one for each that follows the record
	ending  chan struct{} // closed when Serve is about to return
}

// Serve answers requests on l until ctx ends, then lets those it has begun
// finish for a few seconds, and closes l. It returns nil when ctx ended it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.waiting, s.ending = make(chan struct{}, maxWaiting), make(chan struct{})
	s.tails = make(chan struct{}, maxTails)
	stop := context.AfterFunc(ctx, func() { close(s.ending) })
	defer stop()
	return serve(ctx, l, s.handler(), withPeer)
}

// ServeMetrics answers GET /metrics on l, and nothing else, until ctx ends.
func ServeMetrics(ctx context.Context, l net.Listener, metrics http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	return serve(ctx, l, limited(mux), nil)
}

// serve runs an HTTP server with the limits every server here has.
func serve(ctx context.Context, l net.Listener, h http.Handler, conn func(context.Context, net.Conn) context.Context) error {
	server := &http.Server{
		Handler:           h,
		ConnContext:       conn,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       2 * headerTime,
		WriteTimeout:      requestTime,
		IdleTimeout:       requestTime,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// An endpoint answers one kind of request with a value to send as JSON, or nil
// for an empty answer.
type endpoint func(*http.Request, Peer) (any, error)

// endpoints is everything the API answers, by http.ServeMux pattern.
func (s *Server) endpoints() map[string]endpoint {
	return map[string]endpoint{
		"GET /v1/status":                  s.status,
		"GET /v1/workloads":               s.workloads,
		"GET /v1/targets":                 s.targets,
		"GET /v1/connections":             s.connections,
		"GET /v1/ca":                      s.ca,
		"GET /v1/log":                     s.log,
		"POST /v1/log/key":                s.rotateKey,
		"POST /v1/runs":                   s.startRun,
		"GET /v1/sessions":                s.sessions,
		"GET /v1/sessions/{id}":           s.session,
		"GET /v1/runs/{id}":               s.run,
		"DELETE /v1/runs/{id}":            s.endRun,
		"GET /v1/approvals":               s.approvals,
		"GET /v1/approvals/{id}":          s.approval,
		"POST /v1/approvals/{id}/approve": s.approve,
		"POST /v1/approvals/{id}/deny":    s.deny,
		"GET /v1/holds":                   s.held,
		"POST /v1/holds":                  s.hold,
		"DELETE /v1/holds/{name}":         s.release,
	}
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, do := range s.endpoints() {
		mux.Handle(pattern, answer(do))
	}
	mux.HandleFunc("GET /v1/tail", s.tail)
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	mux.Handle("/", answer(func(r *http.Request, _ Peer) (any, error) {
		return nil, notFound("agentd has no %s %s: agentctl and agentd may be of different versions", r.Method, r.URL.Path)
	}))
	return limited(mux)
}

// limited refuses requests beyond maxConcurrent, and cuts off long bodies.
func limited(h http.Handler) http.Handler {
	slots := make(chan struct{}, maxConcurrent)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			send(w, http.StatusServiceUnavailable, &Error{Message: "agentd is answering too many requests: try again"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h.ServeHTTP(w, r)
	})
}

// answer makes do a handler. A request of an unknown peer is refused.
func answer(do endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, known := r.Context().Value(peerKey{}).(Peer)
		if !known {
			send(w, http.StatusForbidden, &Error{Message: "the kernel does not say who is asking"})
			return
		}
		v, err := do(r, peer)
		var told *Error
		switch {
		case errors.As(err, &told):
			send(w, told.Code, told)
		case err != nil:
			send(w, http.StatusInternalServerError, &Error{Message: err.Error()})
		case v == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			send(w, http.StatusOK, v)
		}
	})
}

// send writes v as JSON. That the client is gone is the client's business.
func send(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

func (s *Server) status(r *http.Request, _ Peer) (any, error) {
	return s.Reporter.Status(r.Context()), nil
}

func (s *Server) workloads(r *http.Request, _ Peer) (any, error) {
	return notNil(s.Reporter.Status(r.Context()).Workloads), nil
}

func (s *Server) targets(*http.Request, Peer) (any, error) {
	return notNil(s.Reporter.Targets()), nil
}

func (s *Server) ca(*http.Request, Peer) (any, error) { return s.Reporter.CA(), nil }

func (s *Server) connections(r *http.Request, _ Peer) (any, error) {
	list, err := s.Connections(r.Context())
	return notNil(list), err
}

func (s *Server) log(r *http.Request, _ Peer) (any, error) {
	return s.Reporter.Status(r.Context()).Log, nil
}

// notNil makes an empty list [] and not null for those who read it.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Server) startRun(r *http.Request, by Peer) (any, error) {
	req := RunRequest{By: by}
	if err := receive(r.Body, &req); err != nil {
		return nil, err
	}
	if by.PID == 0 {
		return nil, badRequest("agentd cannot see your process: run agentctl in the host's pid namespace")
	}
	run, err := s.Runs.StartRun(r.Context(), req)
	if err != nil {
		return nil, err
	}
	s.Log.Info("run started", "run", run.ID, "name", run.Name, "by", by.String())
	return run, nil
}

func (s *Server) run(r *http.Request, _ Peer) (any, error) {
	reporter, ok := s.Runs.(RunReporter)
	if !ok {
		return nil, notFound("this agentd does not say what came of a run")
	}
	return reporter.RunStatus(r.Context(), r.PathValue("id"))
}

func (s *Server) endRun(r *http.Request, by Peer) (any, error) {
	id := r.PathValue("id")
	if err := s.Runs.EndRun(r.Context(), id, by); err != nil {
		return nil, err
	}
	s.Log.Info("run ended", "run", id, "by", by.String())
	return nil, nil
}

// receive reads exactly one JSON value without unknown keys into v.
func receive(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badRequest("read the request: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("read the request: more than one value")
	}
	return nil
}
