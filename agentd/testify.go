package agentd

import (
	"context"
	"encoding/base64"
	"time"
)

// testify writes the latest checkpoint to agentd's own log, at an interval,
// also when nothing happened: where that log is taken off the node, the record
// cannot be put back to before it unseen, and whoever keeps it sees when a node
// fell silent. It observes: nothing waits for it.
func (d *Daemon) testify(ctx context.Context) error {
	every := time.Duration(d.config.Record.Heartbeat)
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		d.depose()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// depose writes one. In base64 a note, which has several lines, is one word.
func (d *Daemon) depose() {
	if note := d.recorder.Latest(); note != nil {
		d.log.Info("checkpoint", "records", d.recorder.Stats().SignedSize, "note", base64.StdEncoding.EncodeToString(note))
	}
}
