package agentd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/handover"
	"agentd.dev/recorder"
)

// errSuccessor ends the parts of the daemon because another agentd takes over.
var errSuccessor = errors.New("another agentd takes over")

// others are the agentds before this one that still have sessions, and the one
// after it.
type others struct {
	mu           sync.Mutex // guards what follows
	predecessors []*recorder.Predecessor
	expected     []processesLeft // that have not come yet

	taking    sync.WaitGroup // calls of take; they end with the recorder
	successor *handover.Conn // set by meet before it returns errSuccessor
}

// meet answers other agentds until ctx ends or one takes over. Then nothing is
// accepted any more, and nothing that was is lost.
func (d *Daemon) meet(ctx context.Context) error {
	meeting, stop := context.WithCancel(ctx)
	var greeting sync.WaitGroup
	defer greeting.Wait()
	defer stop()
	ready := make(chan *handover.Conn)
	served := make(chan error, 1)
	go func() {
		served <- d.doors.Serve(meeting, func(conn *handover.Conn) {
			greeting.Go(func() { d.answer(meeting, conn, ready) })
		})
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		stop()
		return <-served
	case conn := <-ready:
		stop()
		if err := errors.Join(<-served, d.capture.Pause()); err != nil {
			conn.Close()
			return err
		}
		d.others.successor = conn
		return errSuccessor
	}
}

// answer finds out what another agentd wants. It owns conn.
func (d *Daemon) answer(ctx context.Context, conn *handover.Conn, ready chan<- *handover.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // closed: nobody waits
	defer stop()
	h, err := d.hear(conn)
	if err != nil {
		conn.Close()
		return
	}
	if h.Want == wantRecord && stop() {
		d.others.taking.Go(func() { d.take(conn, h.Sessions) })
		return
	}
	var w word
	if _, err := conn.Receive(&w); err != nil || !w.Ready {
		d.log.Info("another agentd wanted to take over, and did not", "pid", conn.PID)
		conn.Close()
		return
	}
	// Before the deadline is taken back: the meeting ends as soon as this one is
	// met, and must not set another.
	if !stop() {
		conn.Close()
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return
	}
	select {
	case ready <- conn:
	case <-ctx.Done():
		conn.Close()
	}
}

// hear reads a hello and answers it.
func (d *Daemon) hear(conn *handover.Conn) (h hello, err error) {
	if err := conn.SetDeadline(time.Now().Add(2 * helloWithin)); err != nil {
		return h, err
	}
	if _, err := conn.Receive(&h); err != nil {
		return h, err
	}
	w := welcome{PID: os.Getpid(), Version: Version, Node: d.config.Node, State: d.config.State, Root: d.config.Capture.Root, Pins: d.config.Capture.Pins}
	if h.Messages != messagesVersion {
		w.Refusal = fmt.Sprintf("version %s cannot be taken over by %s: stop it first", Version, h.Version)
	} else if w.Shapes, err = capture.Shapes(); err != nil {
		w.Refusal = err.Error()
	}
	if err := conn.Send(w); err != nil {
		return h, err
	}
	if w.Refusal != "" {
		return h, errors.New(w.Refusal)
	}
	return h, nil
}

// take records what an agentd before this one sends.
func (d *Daemon) take(conn *handover.Conn, sessions []string) {
	p := recorder.NewPredecessor(conn.PID, sessions)
	o := &d.others
	o.mu.Lock()
	o.predecessors = append(o.predecessors, p)
	o.expected = slices.DeleteFunc(o.expected, func(e processesLeft) bool { return e.PID == p.PID })
	o.mu.Unlock()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		d.log.Error("record for an earlier agentd", "pid", p.PID, "error", err)
	}
	if err := d.recorder.Take(conn, p); err != nil {
		d.log.Warn("record for an earlier agentd", "pid", p.PID, "error", err)
	}
	o.mu.Lock()
	o.predecessors = slices.DeleteFunc(o.predecessors, func(other *recorder.Predecessor) bool { return other == p })
	o.mu.Unlock()
}

// expect notes the processes that will come to have their sessions recorded.
func (d *Daemon) expect(left []processesLeft) {
	d.others.mu.Lock()
	defer d.others.mu.Unlock()
	d.others.expected = left
}

// await records, once they had the time to come, that those who did not have
// ended with their sessions.
func (d *Daemon) await(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(leaveWithin):
	}
	d.others.mu.Lock()
	missing := d.others.expected
	d.others.expected = nil
	d.others.mu.Unlock()
	for _, p := range missing {
		if err := d.recorder.Interrupt(p.Sessions); err != nil {
			d.log.Error("record what ended with an earlier agentd", "pid", p.PID, "error", err)
		}
	}
	return nil
}

// draining says which agentds before this one still have sessions.
func (d *Daemon) draining() []control.Draining {
	list := []control.Draining{}
	for _, p := range d.left() {
		list = append(list, control.Draining{PID: p.PID, Sessions: len(p.Sessions)})
	}
	return list
}

// left returns the sessions of the agentds before this one.
func (d *Daemon) left() []processesLeft {
	d.others.mu.Lock()
	defer d.others.mu.Unlock()
	left := slices.Clone(d.others.expected)
	for _, p := range d.others.predecessors {
		left = append(left, processesLeft{p.PID, p.Sessions()})
	}
	return left
}

// handOver gives everything to the agentd that takes over and reports whether
// it has: else this one goes on as before.
func (d *Daemon) handOver() bool {
	conn := d.others.successor
	defer conn.Close()
	if err := d.desk.Leave(); err != nil {
		d.log.Error("leave the approvals to the agentd that takes over: it will not know of them", "error", err)
	}
	if err := d.usage.Leave(); err != nil {
		d.log.Error("leave what was used to the agentd that takes over: it will not know of it", "error", err)
	}
	err := d.recorder.HandOver(func(lock *os.File) (recorder.Sink, error) {
		if err := d.bequeath(conn, lock); err != nil {
			return nil, err
		}
		return recorder.NewRemote(d.reachSuccessor), nil
	})
	if err != nil {
		d.log.Warn("the agentd that wanted to take over did not: going on", "pid", conn.PID, "error", err)
		d.desk.Stay()
		d.usage.Stay()
		if err := d.capture.Resume(); err != nil {
			d.log.Error("go on after another agentd did not take over", "error", err)
		}
		return false
	}
	d.theirs = true
	d.desk.Left(upgraded) // nobody can decide here any more
	d.capture.Leave()
	if err := d.closeSockets(); err != nil {
		d.log.Warn("give the sockets up", "error", err)
	}
	d.log.Info("another agentd has taken over; the sessions that are left go on here", "pid", conn.PID, "sessions", len(d.sessions.ids()))
	return true
}

// bequeath sends everything and waits until the other agentd has taken over, or
// is gone: nothing else tells for sure that it will not.
func (d *Daemon) bequeath(conn *handover.Conn, log *os.File) error {
	in := d.capture.Bequest()
	for i := range in.Listeners {
		if err := conn.Send(word{Listener: &in.Listeners[i]}, in.Listeners[i].FDs()...); err != nil {
			return err
		}
	}
	for _, run := range d.runs.bequest() {
		var caller []int
		if run.caller != nil {
			caller = append(caller, handover.FD(run.caller))
		}
		if err := conn.Send(word{Run: &run}, caller...); err != nil {
			return err
		}
	}
	e := estate{Capture: in, Processes: append(d.left(), processesLeft{os.Getpid(), d.sessions.ids()})}
	fds := []int{handover.FD(in.Pins), handover.FD(log), handover.FD(d.socket), handover.FD(d.socket.Lock()), d.doors.FD()}
	if d.metrics != nil {
		e.Metrics = d.config.Metrics
		fds = append(fds, handover.FD(d.metrics))
	}
	if err := conn.Send(word{Estate: &e}, fds...); err != nil {
		return err
	}
	var w word
	if _, err := conn.Receive(&w); err != nil {
		return err
	}
	if !w.Took {
		return errors.New("it said something unexpected")
	}
	return nil
}

// reachSuccessor connects to the agentd that records now.
func (d *Daemon) reachSuccessor() (net.Conn, error) {
	conn, err := handover.Dial(d.config.doorsPath())
	if err != nil {
		return nil, err
	}
	if _, err := greet(conn, hello{Want: wantRecord, Sessions: d.sessions.ids()}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
