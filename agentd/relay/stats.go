package relay

import (
	"sync/atomic"
	"time"

	"agentd.dev/policy"
)

// LatencyBounds are the upper bounds of the buckets of Stats.Latency, in
// seconds; one more bucket holds everything above.
var LatencyBounds = [...]float64{5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 5e-3, 25e-3, 100e-3}

// Stats counts what a loop did. The loop alone writes; anyone may read.
type Stats struct {
	Sessions atomic.Int64 // live
	Verdicts [policy.Outcomes]atomic.Int64
	Bytes    [2]atomic.Int64 // read, by direction
	Errors   atomic.Int64    // sessions ended because something was not understood or not recorded
	// Latency counts asked events by how long their turn of the loop took,
	// from the moment their bytes were ready to be read until they were
	// written, in buckets of LatencyBounds.
	Latency    [len(LatencyBounds) + 1]atomic.Int64
	LatencySum atomic.Int64 // nanoseconds
}

// took counts n asked events of a turn that took d.
func (s *Stats) took(n int64, d time.Duration) {
	i := 0
	for i < len(LatencyBounds) && d.Seconds() > LatencyBounds[i] {
		i++
	}
	s.Latency[i].Add(n)
	s.LatencySum.Add(n * int64(d))
}
