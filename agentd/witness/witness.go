// Package witness has others sign that they have seen this node's checkpoints:
// witnesses, as c2sp.org/tlog-witness describes them. A witness keeps the latest
// checkpoint that it has seen of a log, and signs another only with proof that
// the log has only grown. What it signed is kept beside the log, and root on the
// node can make none of it up.
//
// Nothing waits for a witness: it observes, and fails open. One that does not
// answer is asked again, more and more seldom, with what is the latest then.
package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"agentd.dev/agentd/outward"
	"agentd.dev/recorder"
)

const (
	attempt   = 10 * time.Second
	maxAnswer = 16 << 10
	maxProof  = 63 // lines, as the protocol says
)

// A Witness is where one is, and how what it signs is known.
type Witness struct {
	Name string
	URL  string // that add-checkpoint is below
	Key  *recorder.WitnessKey
	// Roots are what its certificate must be signed by, as they are now; nil for
	// what the system trusts.
	Roots outward.Roots
}

// A conflictError is the answer of a witness that has seen another checkpoint
// than it was told.
type conflictError struct{ size int64 }

func (e conflictError) Error() string {
	return fmt.Sprintf("it has seen %d records of this log", e.size)
}

// A client makes the requests to one witness.
type client struct {
	Witness
	http outward.Client
}

func newClient(w Witness) client {
	return client{w, outward.Client{Roots: w.Roots, Answer: attempt, Idle: 2 * time.Minute}}
}

// add asks for a cosignature of a checkpoint, with the proof that it only adds
// to the old records that the witness has seen. It returns the checkpoint with
// it. The error is a conflictError if the witness has seen others.
func (c *client) add(ctx context.Context, old int64, proof []tlog.Hash, signed []byte) ([]byte, error) {
	if len(proof) > maxProof {
		return nil, fmt.Errorf("a proof of %d hashes: %d at most", len(proof), maxProof)
	}
	body := fmt.Appendf(nil, "old %d\n", old)
	for _, hash := range proof {
		body = base64.StdEncoding.AppendEncode(body, hash[:])
		body = append(body, '\n')
	}
	body = append(append(body, '\n'), signed...)
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "agentd")
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	trusting, err := c.http.Trusting()
	if err != nil {
		return nil, err
	}
	answer, err := trusting.Do(request)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	return c.answered(answer, text, signed)
}

// answered reads an answer.
func (c *client) answered(answer *http.Response, text, signed []byte) ([]byte, error) {
	switch answer.StatusCode {
	case http.StatusOK:
		cosigned, err := c.Key.Cosign(signed, text)
		if err != nil {
			return nil, fmt.Errorf("its answer is no cosignature with the key in the configuration: %w", err)
		}
		return cosigned, nil
	case http.StatusConflict:
		line, _ := strings.CutSuffix(string(text), "\n")
		size, err := strconv.ParseInt(line, 10, 64)
		if err != nil || size < 0 || answer.Header.Get("Content-Type") != "text/x.tlog.size" {
			return nil, errors.New("it answered 409 and does not say how many records it has seen: it knows another history of this log, or is no witness")
		}
		return nil, conflictError{size}
	case http.StatusForbidden:
		return nil, errors.New("it does not know this node's key (403): give it the node's public key")
	case http.StatusNotFound:
		return nil, errors.New("it does not know this log (404): give it the node's name and public key, and check the URL")
	case http.StatusUnprocessableEntity:
		return nil, errors.New("it does not accept the proof (422): it knows another history of this log")
	}
	return nil, fmt.Errorf("it answered %d", answer.StatusCode)
}
