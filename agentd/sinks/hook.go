package sinks

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"agentd.dev/agentd/webhook"
)

// A Webhook is a sink that gets records by POST, as JSON: docs/sinks.md says how it
// looks. What is signed is signed as notices are.
type Webhook struct {
	Where string // the URL, or the file that holds it
	URL   Secret
	Sign  string // where the secret is, by which two are compared
	// Secret signs, if it is not nil.
	Secret Secret
	TLS    TLS
}

type hook struct {
	*Webhook
	name, node string
	client     *http.Client
}

func newHook(c *Config, o *Options) *hook {
	return &hook{Webhook: c.Webhook, name: c.Name, node: o.Node}
}

// send fails closed where a batch is to be signed and cannot be.
func (h *hook) send(ctx context.Context, batch []Record) error {
	where, err := h.URL(ctx)
	if err != nil {
		return err
	}
	body, err := h.body(batch)
	if err != nil {
		return refusedError{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(body))
	if err != nil {
		return errors.New("its URL is none")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "agentd")
	if h.Secret != nil {
		secret, err := h.Secret(ctx)
		if err != nil {
			return err
		}
		req.Header.Set(webhook.Header, webhook.Sign([]byte(secret), body, time.Now()))
	}
	if h.client == nil {
		if h.client, err = newClient(&h.TLS); err != nil {
			return err
		}
	}
	answer, err := h.client.Do(req)
	if err != nil {
		h.close() // the next attempt reads certificates anew
		return discreet(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 4<<10)) // so that the connection can be used again
	return answered(answer.StatusCode)
}

// body is a batch as it is sent. Records stand in it byte by byte as in the log,
// so that their hashes can be checked.
func (h *hook) body(batch []Record) ([]byte, error) {
	head, err := json.Marshal(map[string]any{
		"version": 1, "node": h.node, "sink": h.name, "first": batch[0].Index, "last": batch[len(batch)-1].Index,
	})
	if err != nil {
		return nil, err
	}
	b := append([]byte(`{"agentd":`), head...)
	b = append(b, `,"records":[`...)
	for i := range batch {
		r := &batch[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, r.Index, 10)
		b = append(b, `,"leaf":"`...)
		b = base64.StdEncoding.AppendEncode(b, r.Leaf[:])
		b = append(b, '"')
		if r.Session != nil {
			session, err := json.Marshal(r.Session)
			if err != nil {
				return nil, err
			}
			b = append(append(b, `,"session":`...), session...)
		}
		b = append(append(b, `,"record":`...), r.JSON...)
		b = append(b, '}')
	}
	return append(b, "]}"...), nil
}

func (h *hook) close() {
	if h.client != nil {
		h.client.CloseIdleConnections()
		h.client = nil
	}
}
