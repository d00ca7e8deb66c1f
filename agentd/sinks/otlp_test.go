package sinks_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"agentd.dev/agentd/sinks"
	"agentd.dev/policy"
)

// A collecting is a server of the protocol's own messages.
type collecting struct {
	*httptest.Server
	reject int64 // of the next request

	mu       sync.Mutex
	header   string
	resource map[string]string
	seen     []*logs.LogRecord
}

func newCollector(t *testing.T) *collecting {
	c := &collecting{resource: map[string]string{}}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collecting) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var got collector.ExportLogsServiceRequest
	unzipped, err := gzip.NewReader(req.Body)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(unzipped)
	}
	if err == nil {
		err = proto.Unmarshal(body, &got)
	}
	if err != nil || req.URL.Path != "/v1/logs" || req.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	c.header = req.Header.Get("Authorization")
	var said collector.ExportLogsServiceResponse
	if c.reject > 0 {
		said.PartialSuccess = &collector.ExportLogsPartialSuccess{RejectedLogRecords: c.reject, ErrorMessage: "hidden"}
		c.reject = 0
	} else {
		for _, r := range got.ResourceLogs {
			for _, a := range r.Resource.Attributes {
				c.resource[a.Key] = a.Value.GetStringValue()
			}
			for _, s := range r.ScopeLogs {
				c.seen = append(c.seen, s.LogRecords...)
			}
		}
	}
	answer, _ := proto.Marshal(&said)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

func (c *collecting) sink() sinks.Config {
	return sinks.Config{Name: "otlp", FromStart: true, OTLP: &sinks.OTLP{
		URL: c.URL, TLS: sinks.TLS{Roots: roots{c.Server}}, Header: sinks.Header{Name: "Authorization", Value: secret("Bearer token")},
	}}
}

func TestOTLPTellsWhoAskedWhatAndWhatCameOfIt(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=somebody-elses")
	l, c := newLog(t), newCollector(t)
	l.statement(t, "drop table orders", policy.Verdict{Outcome: policy.Refuse, Rule: "no-destructive-sql"})
	l.start(t, c.sink())
	await(t, "six records", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.seen) == 6 })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resource["service.name"] != "agentd" || c.resource["k8s.node.name"] != "node-1" || c.header != "Bearer token" {
		t.Errorf("got the resource %q and the header %q, want agentd on node-1, and the token", c.resource, c.header)
	}
	request := c.seen[3]
	got := map[string]string{}
	for _, a := range request.Attributes {
		got[a.Key] = a.Value.GetStringValue()
	}
	for key, want := range map[string]string{
		"agentd.record.type": "request", "agentd.verdict": "deny", "agentd.rule": "no-destructive-sql", "session.id": "S1",
		"db.query.text": "drop table orders", "db.system.name": "postgresql", "db.namespace": "shop", "db.user.name": "alice",
		"server.address": "192.0.2.1", "k8s.namespace.name": "team-a", "k8s.pod.name": "reporter-1", "agentd.workload": "reporter", "agentd.claim.task": "T-1",
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	if request.SeverityNumber != logs.SeverityNumber_SEVERITY_NUMBER_WARN || request.EventName != "agentd.request" {
		t.Errorf("got %v of %q, want a warning of agentd.request", request.SeverityNumber, request.EventName)
	}
	if trace := hex.EncodeToString(request.TraceId); trace != traceID {
		t.Errorf("got the trace %s, want that of the statement's claim", trace)
	}
	if g := c.seen[4].SeverityNumber; g != logs.SeverityNumber_SEVERITY_NUMBER_INFO {
		t.Errorf("got %v of the outcome, want INFO", g)
	}
}

func TestWhatACollectorRejectsIsTriedInParts(t *testing.T) {
	l, c := newLog(t), newCollector(t)
	l.notes(t, 10)
	await(t, "a checkpoint", func() bool { return l.Stats().SignedSize == 11 })
	c.reject = 3
	s := l.start(t, c.sink())
	await(t, "all", func() bool { return s.States()["otlp"].Behind == 0 })
	if got := s.States()["otlp"]; got.Delivered != 11 || got.Refused != 0 {
		t.Errorf("got %+v, want 11 delivered", got)
	}
}
