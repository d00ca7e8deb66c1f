package approvals

import "time"

// Buckets are the upper ends of those in which the times to decide are counted.
var Buckets = [...]time.Duration{
	5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
	5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
}

// Counts are what a Desk has done.
type Counts struct {
	Pending int
	Refused int64         // questions that nobody was asked about
	Ended   [states]int64 // requests by the state that they went to from pending
	// Took counts the requests that people decided, by how long that took:
	// below Buckets, and the last above all of them.
	Took  [len(Buckets) + 1]int64
	Total time.Duration // all that took
}

// Counts returns what was done since the Desk was made.
func (d *Desk) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.counts
	c.Pending = d.waiting
	return c
}

// add counts a request that has been pending.
func (c *Counts) add(state State, took time.Duration) {
	c.Ended[state]++
	if state != Granted && state != Denied {
		return
	}
	c.Total += took
	for i, most := range Buckets {
		if took <= most {
			c.Took[i]++
			return
		}
	}
	c.Took[len(Buckets)]++
}
