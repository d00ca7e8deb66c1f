package capture

import "agentd.dev/bpf"

// GoAway says that agentd is about to stop: from now on each workload gets what
// it wants while agentd is away, as if we hung. What waits to be accepted, and
// everything that was, goes on; there is no way back.
func (c *Capture) GoAway() error {
	c.beating.Lock()
	defer c.beating.Unlock()
	c.going = true
	return c.kernel.AgentdDaemon.Put(uint32(0), &bpf.CaptureDaemon{Nonce: c.nonce, Hold: c.port})
}
