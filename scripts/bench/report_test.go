package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestMedianTakesEachNumberByItself(t *testing.T) {
	c := cell{"direct", "simple", 1}
	r := results{c: {{tps: 3, cpu: 10}, {tps: 1, cpu: 30}, {tps: 2, cpu: 20}}}
	got, ok := r.median(c)
	if want := (result{tps: 2, cpu: 20}); got != want || !ok {
		t.Errorf("median is %+v, %v, want %+v", got, ok, want)
	}
	if _, ok := r.median(cell{"other", "simple", 1}); ok {
		t.Error("there is a median of no runs")
	}
}

func TestLatenciesCoverTheLogsOfAllThreads(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "transactions")
	for name, text := range map[string]string{
		prefix + ".7":   "0 1 100 0 1700000000 1\n0 2 300 0 1700000000 2\n",
		prefix + ".7.1": "1 1 200 0 1700000000 1\n1 2 900 0 1700000000 2\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p50, p99, err := latencies(prefix)
	if want := 300 * time.Microsecond; p50 != want || err != nil {
		t.Errorf("the median is %v (%v), want %v", p50, err, want)
	}
	if want := 900 * time.Microsecond; p99 != want {
		t.Errorf("the 99th percentile is %v, want %v", p99, want)
	}
	if left, _ := filepath.Glob(prefix + "*"); left != nil {
		t.Errorf("logs are left: %v", left)
	}
}
