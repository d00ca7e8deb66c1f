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
