package control

import (
	"context"
	"net/http"
	"os"
)

// A KeyRotation is what became of the key that signs the log.
type KeyRotation struct {
	Before string `json:"before"` // the name of the key that signed until now
	Now    string `json:"now"`    // and of the one that does from now on
	Key    string `json:"key"`    // the file with its public half
}

// RotateKey asks for a new key to sign the log with.
func (c *Client) RotateKey(ctx context.Context) (KeyRotation, error) {
	return ask[KeyRotation](ctx, c, http.MethodPost, "/v1/log/key", nil)
}

// rotateKey is for root, and for who agentd runs as: others may be allowed to
// use the socket, as to decide about requests.
func (s *Server) rotateKey(_ *http.Request, by Peer) (any, error) {
	if by.UID != 0 && int(by.UID) != os.Geteuid() {
		return nil, &Error{Code: http.StatusForbidden, Message: "the signing key is rotated by root alone: use sudo"}
	}
	rotated, err := s.RotateKey(by.String())
	if err != nil {
		return nil, err
	}
	s.Log.Info("signing key rotated", "before", rotated.Before, "now", rotated.Now, "by", by.String())
	return rotated, nil
}
