package grammar

import "sync/atomic"

// Counts are what a Pool has come across since it was opened.
type Counts struct {
	Studies  atomic.Int64 // texts that a worker was asked about
	Busy     atomic.Int64 // texts for which there was no worker in time
	Timeouts atomic.Int64 // workers that were ended because they took too long
	Deaths   atomic.Int64 // workers that ended by themselves, or were killed
	Retired  atomic.Int64 // workers that were ended because they had grown
	Started  atomic.Int64 // workers
}

// Read returns the counts by the names that metrics have for them.
func (c *Counts) Read() map[string]int64 {
	return map[string]int64{
		"studied": c.Studies.Load(), "busy": c.Busy.Load(),
		"late": c.Timeouts.Load(), "died": c.Deaths.Load(), "grown": c.Retired.Load(),
	}
}
