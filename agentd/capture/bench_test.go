package capture_test

import (
	"slices"
	"testing"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// BenchmarkConnect tells what connect() costs a process that agentd knows
// nothing of (bare), one beside captured workloads, one that agentd has
// decided to leave alone, and a captured one. They take turns, so that a noisy
// moment hits all alike; ns are medians, and the ratios are to bare.
func BenchmarkConnect(b *testing.B) {
	f := start(b, capture.Options{})
	outside := lab.NewCgroup(b)
	pods := f.root.Child(b, "pods")
	if _, err := f.Watch(pods.Path, capture.UnknownHold, capture.Refuse); err != nil {
		b.Fatal(err)
	}
	free := pods.Child(b, "pod")
	if _, err := f.Free(free.Path); err != nil {
		b.Fatal(err)
	}
	clients := []struct {
		name string
		*client
		took []time.Duration
	}{
		{name: "bare", client: startClient(b, outside, nil)},
		{name: "beside", client: startClient(b, f.root.Child(b, "beside"), nil)},
		{name: "free", client: startClient(b, free.Child(b, "container"), nil)},
		{name: "captured", client: startClient(b, f.workload(b, "agent"), nil)},
	}
	s := serve(b, "127.0.0.1", nil)
	for b.Loop() {
		for i := range clients {
			got := clients[i].do(b, request{Dest: s.addr, Timed: true, Count: 500})
			if got.Err != "" {
				b.Fatalf("%s: %s", clients[i].name, got.Err)
			}
			clients[i].took = append(clients[i].took, got.Took)
		}
	}
	bare := median(clients[0].took)
	for _, c := range clients {
		took := median(c.took)
		b.ReportMetric(float64(took.Nanoseconds()), c.name+"-ns")
		b.ReportMetric(float64(took)/float64(bare), c.name+"/bare")
	}
}

func median(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}
