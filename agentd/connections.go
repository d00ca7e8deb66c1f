package agentd

import (
	"context"
	"errors"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/control"
)

// connections lists the connections of captured workloads that agentd does not
// see.
func (d *Daemon) connections(context.Context) (list []control.Connection, err error) {
	for _, w := range d.capture.Workloads() {
		found, e := d.capture.Earlier(w.ID)
		err = errors.Join(err, e)
		for i := range found {
			f := &found[i]
			list = append(list, control.Connection{
				Workload: w.Name,
				Protocol: f.Protocol,
				Local:    f.Local.String(),
				Remote:   f.Remote.String(),
				State:    f.State,
				PID:      f.PID,
				Stays:    stays(f),
			})
		}
	}
	if len(list) > 0 {
		return list, nil // a workload that has just ended is no reason to say nothing of the others
	}
	return list, err
}

// stays says why a connection is never reset, "" if it can be.
func stays(e *capture.Earlier) string {
	switch {
	case e.Accepted:
		return "the other side connected"
	case e.Foreign:
		return "made in a cgroup outside of the workload"
	}
	return ""
}

// earlier counts the connections that a workload has beside agentd. Observation:
// what cannot be counted is none.
func (d *Daemon) earlier(workload uint64) (n int) {
	found, err := d.capture.Earlier(workload)
	if err != nil {
		d.log.Debug("count connections", "error", err)
	}
	for i := range found {
		if !found[i].Accepted {
			n++
		}
	}
	return n
}
