package control_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"agentd.dev/agentd/control"
)

var snapshot = control.Snapshot{
	Sessions: 9, Live: 2,
	Statements: map[string]int64{"allow": 5, "deny": 1},
	Bytes:      map[string]int64{"client": 100, "server": 2000},
	Latency:    control.Histogram{Bounds: []float64{0.001, 0.01}, Counts: []int64{3, 2, 1}, Sum: 0.5},
	Records:    40, RecordFailures: 1, Checkpoints: 4,
	Refused:   map[string]int64{"direct": 3},
	Capture:   map[string]int64{"redirected": 9},
	Grammar:   map[string]int64{"studied": 7},
	Shadows:   map[string]int64{"draft": 4},
	Alerts:    map[string]int64{"exports": 2},
	Workloads: 3, Verified: true,
	ApprovalsPending: 2, Approvals: map[string]int64{"granted": 4},
	ToDecide: control.Histogram{Bounds: []float64{60}, Counts: []int64{3, 1}, Sum: 90},
}

// shown is what snapshot looks like to Prometheus.
var shown = []string{
	"agentd_up 1",
	"agentd_sessions_total 9",
	"agentd_sessions_live 2",
	`agentd_statements_total{verdict="allow"} 5`,
	`agentd_statements_total{verdict="deny"} 1`,
	`agentd_shadows_total{rule="draft"} 4`,
	`agentd_alerts_total{rule="exports"} 2`,
	`agentd_bytes_total{dir="client"} 100`,
	`agentd_bytes_total{dir="server"} 2000`,
	`agentd_added_latency_seconds_bucket{le="0.001"} 3`,
	`agentd_added_latency_seconds_bucket{le="0.01"} 5`,
	`agentd_added_latency_seconds_bucket{le="+Inf"} 6`,
	"agentd_added_latency_seconds_sum 0.5",
	"agentd_added_latency_seconds_count 6",
	"agentd_records_total 40",
	"agentd_record_failures_total 1",
	"agentd_checkpoints_total 4",
	`agentd_connections_refused_total{reason="direct"} 3`,
	"agentd_capture_redirected_total 9",
	`agentd_grammar_total{event="studied"} 7`,
	"agentd_capture_workloads 3",
	"agentd_approvals_pending 2",
	`agentd_approvals_total{outcome="granted"} 4`,
	`agentd_approval_decision_seconds_bucket{le="60"} 3`,
	"agentd_approval_decision_seconds_count 4",
	"agentd_capture_verified 1",
}

func handler() http.Handler {
	return control.MetricsHandler(control.Collector{Read: func() control.Snapshot { return snapshot }})
}

func checkShown(t *testing.T, text string) {
	t.Helper()
	for _, line := range shown {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("metrics lack the line %q", line)
		}
	}
	if !strings.Contains(text, "\ngo_goroutines ") || !strings.Contains(text, "\nprocess_open_fds ") {
		t.Error("metrics lack those of the runtime and the process")
	}
}

func TestMetricsShowEveryNumberOnTheSocket(t *testing.T) {
	code, text := raw(t, serve(t, &daemon{}, handler()), "GET", "/metrics", "")
	if code != http.StatusOK {
		t.Fatalf("status %d, want 200", code)
	}
	checkShown(t, text)
}

func TestMetricsAddressServesNothingElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.ServeMetrics(ctx, l, handler()) }()

	for path, want := range map[string]int{"/metrics": 200, "/v1/status": 404, "/": 404} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("GET %s: %d, %v, want %d", path, resp.StatusCode, err, want)
		}
		if path == "/metrics" {
			checkShown(t, string(text))
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ServeMetrics: %v", err)
	}
}
