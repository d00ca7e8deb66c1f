package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
)

// maxAnswer bounds what the client reads of one answer, in bytes. A session's
// whole transcript is one answer.
const maxAnswer = 1 << 30

// ErrNoDaemon says that nobody answers on the socket.
var ErrNoDaemon = errors.New("agentd does not answer")

// A Client talks to the daemon behind a socket. It may be used by several
// goroutines. Its errors are ErrNoDaemon and fs.ErrPermission, with the path
// (errors.Is), an *Error that the daemon answered, or what went wrong between.
type Client struct {
	Socket string
	http   http.Client
}

// NewClient returns a client for the socket at path. It connects when it is
// first used.
func NewClient(path string) *Client {
	return &Client{
		Socket: path,
		http: http.Client{
			Timeout: requestTime,
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					var d net.Dialer
					return d.DialContext(ctx, "unix", path)
				},
			},
		},
	}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Workloads asks what is captured.
func (c *Client) Workloads(ctx context.Context) ([]Workload, error) {
	return ask[[]Workload](ctx, c, http.MethodGet, "/v1/workloads", nil)
}

// Targets asks which services are configured.
func (c *Client) Targets(ctx context.Context) ([]Target, error) {
	return ask[[]Target](ctx, c, http.MethodGet, "/v1/targets", nil)
}

// CA asks whom clients are to trust.
func (c *Client) CA(ctx context.Context) (CA, error) {
	return ask[CA](ctx, c, http.MethodGet, "/v1/ca", nil)
}

// Connections asks which connections of captured workloads agentd does not see.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	return ask[[]Connection](ctx, c, http.MethodGet, "/v1/connections", nil)
}

// Log asks where the record is and how it is.
func (c *Client) Log(ctx context.Context) (Log, error) {
	return ask[Log](ctx, c, http.MethodGet, "/v1/log", nil)
}

// StartRun asks for a place to run a program in, captured with the network
// namespace of this process.
func (c *Client) StartRun(ctx context.Context, name string) (Run, error) {
	return ask[Run](ctx, c, http.MethodPost, "/v1/runs", RunRequest{Name: name})
}

// RunStatus asks what came of a run so far.
func (c *Client) RunStatus(ctx context.Context, id string) (RunStatus, error) {
	return ask[RunStatus](ctx, c, http.MethodGet, "/v1/runs/"+url.PathEscape(id), nil)
}

// EndRun says that the program of a run is over.
func (c *Client) EndRun(ctx context.Context, id string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "/v1/runs/"+url.PathEscape(id), nil)
	return err
}

// ask sends one request, with body as JSON unless it is nil, and decodes the
// answer.
func ask[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var answer T
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer, err
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agentd"+path, send)
	if err != nil {
		return answer, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer, c.explain(err)
	}
	defer resp.Body.Close()
	err = read(resp, &answer)
	return answer, err
}

// read decodes an answer, or the error it is.
func read(resp *http.Response, v any) error {
	dec := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return nil
	case resp.StatusCode == http.StatusOK:
		if err := dec.Decode(v); err != nil {
			return fmt.Errorf("read agentd's answer: %w", err)
		}
		return nil
	}
	told := &Error{Code: resp.StatusCode}
	if dec.Decode(told) != nil || told.Message == "" {
		told.Message = "agentd answered " + resp.Status
	}
	return told
}

// explain says of a request that got no answer whether there is a daemon.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s", ErrNoDaemon, c.Socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open %s: %w", c.Socket, fs.ErrPermission)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the made-up URL
	}
	return fmt.Errorf("ask agentd on %s: %w", c.Socket, err)
}
