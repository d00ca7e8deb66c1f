package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"agentd.dev/recorder"
)

// A Keeper keeps the record, and what of it is held.
type Keeper interface {
	Holds() []recorder.Hold
	Hold(recorder.Hold) (recorder.Hold, error)
	Release(name, by string) error
}

// Holds asks what is held.
func (c *Client) Holds(ctx context.Context) ([]recorder.Hold, error) {
	return ask[[]recorder.Hold](ctx, c, http.MethodGet, "/v1/holds", nil)
}

// Hold begins a hold.
func (c *Client) Hold(ctx context.Context, h recorder.Hold) (recorder.Hold, error) {
	return ask[recorder.Hold](ctx, c, http.MethodPost, "/v1/holds", h)
}

// Release ends a hold.
func (c *Client) Release(ctx context.Context, name string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "/v1/holds/"+url.PathEscape(name), nil)
	return err
}

func (s *Server) held(*http.Request, Peer) (any, error) { return notNil(s.Keeper.Holds()), nil }

func (s *Server) hold(r *http.Request, by Peer) (any, error) {
	who, err := s.holder(by)
	if err != nil {
		return nil, err
	}
	var h recorder.Hold
	if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
		return nil, badRequest("not a hold: %v", err)
	}
	if h.Name == "" || len(h.Name) > 128 || len(h.Why) > 1024 || len(h.Session) > 128 || h.From < 0 || h.To < 0 || h.To > 0 && h.To < h.From {
		return nil, badRequest("a hold has a name of at most 128 bytes, and a reason of at most 1024")
	}
	h.By = who
	h, err = s.Keeper.Hold(h)
	if err != nil {
		return nil, badRequest("%v", err)
	}
	return h, nil
}

func (s *Server) release(r *http.Request, by Peer) (any, error) {
	who, err := s.holder(by)
	if err != nil {
		return nil, err
	}
	if err := s.Keeper.Release(r.PathValue("name"), who); err != nil {
		return nil, badRequest("%v", err)
	}
	return nil, nil
}

// holder names who holds or releases: a person whom agentd knows, and not a
// captured workload. It fails closed.
func (s *Server) holder(by Peer) (string, error) {
	v, err := by.voter(s.Desk.Captured)
	if err != nil {
		return "", err
	}
	if v.Captured != "" {
		return "", &Error{Code: http.StatusForbidden, Message: "a captured workload does not say what of the record is kept"}
	}
	if v.Name != "" {
		return v.Name, nil
	}
	return strconv.FormatUint(uint64(*v.UID), 10), nil
}
