package agentd

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// outlive lets the sessions that are left go on after a handover, for as long as
// limits.handover says. Whoever stops old agentds by habit sends SIGTERM once:
// that ends nothing. A second one does.
//
// Where a process that ends is started again, it would take over in turn: with
// Config.Stay it stays, with nothing left to do, until it was told to stop.
func (d *Daemon) outlive(ctx context.Context) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	go func() {
		d.dialling.Wait()
		d.capture.Forget()
		d.live.Wait()
		close(ended)
	}()
	// Rules that change hold for these sessions, too, and what they alert of is told.
	judging, end := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	beside.Go(func() {
		if err := d.reloadRules(judging); err != nil {
			d.log.Error("the sessions that are left keep the rules they have", "error", err)
		}
	})
	beside.Go(func() { _ = d.tellAlerts(judging) }) // returns nil
	beside.Go(func() { _ = d.usage.Run(judging) })  // too
	defer func() { end(); beside.Wait() }()
	limit := time.NewTimer(time.Duration(d.inForce.Load().config.Limits.Handover))
	defer limit.Stop()
	told, over := !d.config.Stay || ctx.Err() != nil, false // perhaps it was told meanwhile
	for asked := false; !told || !over; {
		select {
		case <-ended:
			ended, over = nil, true
		case <-limit.C:
			d.endSessions("limits.handover is over")
		case <-signals:
			if asked {
				d.endSessions("asked twice")
			}
			told, asked = true, true
			d.log.Info("the sessions that are left go on until they end; SIGTERM again ends them", "sessions", len(d.sessions.ids()))
		}
	}
}

// endSessions ends what is left, once.
func (d *Daemon) endSessions(why string) {
	d.log.Info("ending the sessions that are left", "why", why, "sessions", len(d.sessions.ids()))
	_ = d.stopLoops() // returns nil
	d.loops = nil
}

// liveSessions are the ids of the sessions that go on in this process.
type liveSessions struct {
	mu  sync.Mutex // guards all
	all map[string]struct{}
}

func (l *liveSessions) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]struct{}{}
	}
	l.all[id] = struct{}{}
}

func (l *liveSessions) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, id)
}

func (l *liveSessions) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]string, 0, len(l.all))
	for id := range l.all {
		ids = append(ids, id)
	}
	return ids
}
