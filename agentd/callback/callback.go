// Package callback lets people who are not on the node decide about requests for
// approval: their tools by POST with a token of their own, they themselves on a
// small page that a link in a notice leads to.
//
// Nothing is decided by looking: programs open links, too, to show what is
// behind them. Nothing is decided without saying who decides: by a person's
// token, or by a link that only that person was sent. What may be decided by
// whom, and its record, is the desk's business.
package callback

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"agentd.dev/agentd/approvals"
)

// A Desk is where requests for approval are; see approvals.Desk.
type Desk interface {
	Find(id string) (approvals.Request, error)
	List(all bool) ([]approvals.Request, uint64)
	Vote(id string, grant bool, by approvals.Voter, reason, shown string) (approvals.Request, error)
}

// An Approver is somebody who may decide.
type Approver struct {
	Name   string
	UID    *uint32 // of the same person on this node, nil if there is none
	Groups []string
	// Token returns what they show that it is them, as it is now.
	Token func() (string, error)
}

// MinToken is how long a token must be, in bytes: nobody guesses one.
const MinToken = 24

// A Server answers people. All fields must be set before Serve.
type Server struct {
	Log       *slog.Logger
	Desk      Desk
	Approvers func() []Approver // as they are now
	Links     *Links
	// Certificate returns what it shows, as it is now.
	Certificate func() (*tls.Certificate, error)
}

// What a request may cost, before it is known who it is from.
const (
	maxBody        = 16 << 10
	maxHeader      = 8 << 10
	maxConns       = 256 // at once
	maxConnsOfOne  = 32  // from one address
	headerTime     = 5 * time.Second
	requestTime    = 10 * time.Second
	drainTime      = 3 * time.Second
	maxFailures    = 10 // from one address, each failurePeriod, before all its requests are refused
	failurePeriod  = time.Minute
	maxRequests    = 120 // from one address, each failurePeriod
	maxRemembered  = 4096
	maxConcurrent  = 32 // requests that are answered at once
	maxListAnswers = 200
)

// Serve answers requests on l, by TLS, until ctx ends, and closes l. It returns
// nil when ctx ended it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // one request at a time: what a connection costs is known
	server := &http.Server{
		Handler:           s.handler(),
		Protocols:         &protocols,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      2 * requestTime,
		IdleTimeout:       requestTime,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.Certificate() },
		},
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(newBounded(l, maxConns, maxConnsOfOne), "", "") }()
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
