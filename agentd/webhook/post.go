package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"agentd.dev/agentd/outward"
)

const (
	attempt     = 10 * time.Second // from the dial to the answer's end
	maxAnswer   = 4 << 10          // bytes of an answer that are read
	maxAnswered = 8                // times that a notice is refused before it is given up
)

// A poster makes the requests of one hook.
type poster struct{ client outward.Client }

func newPoster(h *Hook) *poster {
	return &poster{outward.Client{Roots: h.Roots, Answer: attempt, Idle: 30 * time.Second}}
}

// An outcome is what came of an attempt that failed.
type outcome struct {
	answered bool          // somebody was there
	final    bool          // and another attempt is of no use
	wait     time.Duration // that they asked for
}

// post brings a notice to a hook. Errors do not tell the URL, which may be a
// secret.
func (p *poster) post(ctx context.Context, w *waiting, h *Hook, node string) (outcome, error) {
	body, err := w.body(w.id, node, h.As)
	if err != nil {
		return outcome{final: true}, err
	}
	where, err := h.URL()
	if err != nil {
		return outcome{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(body))
	if err != nil {
		return outcome{}, errors.New("its URL is none")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "agentd")
	if h.Secret != nil {
		secret, err := h.Secret()
		if err != nil {
			return outcome{}, err // fail closed: nothing goes out unsigned that is to be signed
		}
		req.Header.Set(Header, Sign(secret, body, time.Now()))
	}
	client, err := p.client.Trusting()
	if err != nil {
		return outcome{}, err
	}
	answer, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return outcome{}, err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // so that the connection can be used again
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return outcome{}, nil
	case code >= 300 && code < 400:
		return outcome{answered: true, final: true}, fmt.Errorf("it answered %d and wants agentd to go elsewhere: redirects are not followed", code)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return outcome{answered: code >= 500, wait: time.Duration(max(0, min(seconds, 3600))) * time.Second}, fmt.Errorf("it answered %d", code)
	default:
		return outcome{answered: true, final: true}, fmt.Errorf("it answered %d and will not take it", code)
	}
}
