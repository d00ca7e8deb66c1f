package agentd

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/webhook"
	"agentd.dev/agentd/witness"
	"agentd.dev/recorder"
)

// Departures are the ways that checkpoints leave the node by: agentd's own log,
// webhooks and witnesses. What has left finds what the folder cannot show. They
// observe: nothing waits for them.
type departures struct {
	kept    *recorder.Witnessed // nil without witnesses
	keepers []*witness.Keeper

	mu   sync.Mutex // guards left
	left map[string]departed
}

// A departed checkpoint is the latest that has left by one way.
type departed struct {
	size int64
	at   time.Time
}

// toJournal is what the way of agentd's own log is called. The others are
// called as in the configuration.
const toJournal = "journal"

// openDepartures prepares the ways.
func (d *Daemon) openDepartures() error {
	d.departures.left = map[string]departed{}
	to := d.config.Record.Checkpoints.Witnesses
	if len(to) == 0 {
		return nil
	}
	var err error
	if d.departures.kept, err = recorder.OpenWitnessed(d.config.logFolder()); err != nil {
		return fmt.Errorf("what witnesses have cosigned: %w", err)
	}
	for _, c := range to {
		w, err := c.witness()
		if err != nil {
			return fmt.Errorf("witness %s: %w", c.Name, err)
		}
		d.departures.keepers = append(d.departures.keepers, witness.New(w, witness.Options{
			Folder: d.config.logFolder(), Latest: d.recorder.Latest, Kept: d.departures.kept,
			Every: time.Duration(d.config.Record.Heartbeat), Log: d.log,
		}))
	}
	return nil
}

// closeDepartures shows the end of the log to witnesses, if it is ours, and is
// done with them.
func (d *Daemon) closeDepartures() error {
	if !d.theirs {
		ctx, cancel := context.WithTimeout(context.Background(), lastNotices)
		defer cancel()
		var last sync.WaitGroup
		for _, k := range d.departures.keepers {
			last.Go(func() { _ = k.Show(ctx) }) // it has said so
		}
		last.Wait()
	}
	for _, k := range d.departures.keepers {
		k.Close()
	}
	if d.departures.kept == nil {
		return nil
	}
	return d.departures.kept.Close()
}

// testify has the latest checkpoint leave, at an interval, also when nothing
// happened: where it comes to, the record cannot be put back to before it
// unseen, and whoever keeps it sees when a node fell silent.
func (d *Daemon) testify(ctx context.Context) error {
	every := time.Duration(d.config.Record.Heartbeat)
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	var showing sync.WaitGroup
	defer showing.Wait()
	for _, k := range d.departures.keepers {
		showing.Go(func() { k.Run(ctx) })
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		d.depose(d.recorder.Latest())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// depose has one leave by agentd's own log and by webhooks. In base64 a note,
// which has several lines, is one word.
func (d *Daemon) depose(signed []byte) {
	if signed == nil {
		return
	}
	size, err := recorder.SizeOf(signed)
	if err != nil {
		return
	}
	if d.config.Record.Checkpoints.Journal {
		d.log.Info("checkpoint", "records", size, "note", base64.StdEncoding.EncodeToString(signed))
		d.departures.leave(toJournal, size)
	}
	if d.webhooks.Wanted(webhook.Checkpoint) {
		d.webhooks.Send(d.departures.notice(size, signed))
	}
}

// A checkpointData is what programs are told of a checkpoint.
type checkpointData struct {
	Records int64  `json:"records"`
	Note    string `json:"note"` // the signed note, as audit verify --checkpoint takes it
}

func (d *departures) notice(size int64, signed []byte) *webhook.Notice {
	return &webhook.Notice{
		Kind: webhook.Checkpoint, What: "checkpoint", At: time.Now(),
		Title: fmt.Sprintf("The record has %d signed records", size),
		Facts: []webhook.Fact{{Name: "records", Value: strconv.FormatInt(size, 10)}},
		Data:  checkpointData{size, string(signed)},
		Came:  func(hook string) { d.leave("webhook "+hook, size) },
	}
}

// leave takes note of what has left.
func (d *departures) leave(to string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left[to] = departed{size, time.Now()}
}

// departed tells how far the ways are behind the record.
func (d *Daemon) departed() (all []control.Departure) {
	add := func(to string, last departed, problem string, failures int64) {
		c := control.Departure{To: to, Records: last.size, At: last.at, Behind: d.recorder.Stats().TreeSize - last.size, Failures: failures, Problem: problem}
		since := last.at
		if since.IsZero() {
			since = d.started
		}
		c.Lag = control.Seconds(time.Since(since) / time.Second)
		all = append(all, c)
	}
	if d.config.Record.Heartbeat == 0 {
		return nil
	}
	d.departures.mu.Lock()
	left := maps.Clone(d.departures.left)
	d.departures.mu.Unlock()
	if d.config.Record.Checkpoints.Journal {
		add(toJournal, left[toJournal], "", 0)
	}
	states := d.webhooks.States() // a hook takes its lock before ours
	for _, h := range d.inForce.Load().config.Webhooks {
		if h.On&webhook.Checkpoint != 0 {
			add("webhook "+h.Name, left["webhook "+h.Name], states[h.Name].Problem, states[h.Name].Failures)
		}
	}
	for _, k := range d.departures.keepers {
		s := k.State()
		add("witness "+k.Name(), departed{s.Size, s.At}, s.Problem, s.Failures)
	}
	return all
}

// addDepartures adds what is behind to the metrics.
func (d *Daemon) addDepartures(s *control.Snapshot) {
	s.CheckpointBehind, s.CheckpointLag, s.CheckpointFailures = map[string]int64{}, map[string]int64{}, map[string]int64{}
	for _, c := range d.departed() {
		s.CheckpointBehind[c.To], s.CheckpointLag[c.To], s.CheckpointFailures[c.To] = c.Behind, int64(c.Lag), c.Failures
	}
}

// witness is where a witness is, and how it is known.
func (c *WitnessConfig) witness() (witness.Witness, error) {
	w := witness.Witness{Name: c.Name, URL: c.URL}
	var err error
	if w.Key, err = recorder.ParseWitnessKey(c.Key); err != nil {
		return w, err
	}
	if c.CA != "" {
		if w.Roots, err = certs.OpenRoots(c.CA); err != nil {
			return w, fmt.Errorf("`ca`: %w", err)
		}
	}
	return w, nil
}

// rotateKey has a new key sign the log. The checkpoint that both keys signed
// leaves at once: with it, who has only the key before can check later ones.
func (d *Daemon) rotateKey(by string) (control.KeyRotation, error) {
	r, err := d.recorder.RotateKey(by)
	if r.Checkpoint != nil {
		d.depose(r.Checkpoint)
	}
	return control.KeyRotation{Before: r.Before, Now: r.Now, Key: d.config.keyFile() + ".pub"}, err
}
