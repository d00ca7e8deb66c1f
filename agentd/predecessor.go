package agentd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/handover"
)

// An inheritance is what a running agentd has given up for this one. What is
// taken out of it is nil afterwards.
type inheritance struct {
	conn    *handover.Conn
	estate  *estate
	runs    []inheritedRun
	log     *os.File // lock of the log
	socket  *os.File // control socket
	lock    *os.File // of the control socket
	doors   *os.File // where other agentds come
	metrics *os.File // nil if there is none
}

// inheritedRun is a run whose caller, if it lives, is watched by caller.
type inheritedRun struct {
	control.Run
	caller *os.File
}

// inherit asks the agentd that runs, if one does, to give up for this one, and
// returns what it gave. Nil: there is none. An error leaves the other one as it
// was.
func (d *Daemon) inherit() (*inheritance, error) {
	conn, err := handover.Dial(d.config.doorsPath())
	if errors.Is(err, handover.ErrNobody) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reach the agentd that runs: %w", err)
	}
	in := &inheritance{conn: conn}
	if err := in.receive(d); err != nil {
		err = errors.Join(fmt.Errorf("take over from the agentd that runs%s: %w", d.holder(), err), in.close())
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: it does not answer: end it with kill -9, or `agentd detach --force`", err)
		}
		return nil, err
	}
	return in, nil
}

// holder names the process of the running agentd, if that is known.
func (d *Daemon) holder() string {
	if pid, held, err := control.Holder(d.config.Socket); err == nil && held && pid != 0 {
		return fmt.Sprintf(" (pid %d)", pid)
	}
	return ""
}

func (in *inheritance) receive(d *Daemon) error {
	w, err := greet(in.conn, hello{Want: wantTakeover})
	if err != nil {
		return err
	}
	in.conn.PID = w.PID // the kernel names the process that made the socket, which may be an earlier one
	if err := d.config.differs(&w); err != nil {
		return err
	}
	if err := in.conn.Send(word{Ready: true}); err != nil {
		return err
	}
	var listeners []capture.Inherited
	for in.estate == nil {
		var w word
		files, err := in.conn.Receive(&w)
		if err != nil {
			handoverClose(listeners)
			return err
		}
		switch {
		case w.Listener != nil:
			w.Listener.Files = files
			listeners = append(listeners, *w.Listener)
		case w.Run != nil:
			if len(files) > 0 {
				w.Run.caller = files[0]
				handover.Close(files[1:]...)
			}
			in.runs = append(in.runs, *w.Run)
		case w.Estate != nil && w.Estate.Capture != nil && len(files) >= estateFiles:
			in.estate = w.Estate
			in.estate.Capture.Listeners = listeners
			in.estate.Capture.Pins, in.log, in.socket, in.lock, in.doors = files[0], files[1], files[2], files[3], files[4]
			if len(files) > estateFiles {
				in.metrics = files[estateFiles]
			}
		default:
			handover.Close(files...)
			handoverClose(listeners)
			return errors.New("it said something unexpected")
		}
	}
	return nil
}

func handoverClose(listeners []capture.Inherited) {
	for _, l := range listeners {
		handover.Close(l.Files...)
	}
}

// close gives up what nobody has taken, and the connection last: once that is
// closed, the other agentd goes on if this one has not taken over.
func (in *inheritance) close() error {
	if in == nil {
		return nil
	}
	if in.estate != nil {
		in.estate.Capture.Close()
	}
	for i := range in.runs {
		handover.Close(in.runs[i].caller)
	}
	handover.Close(in.log, in.socket, in.lock, in.doors, in.metrics)
	in.conn.Close()
	return nil
}

// took makes this agentd the one that captures and records. If there is none
// to take over from, it has been that.
func (d *Daemon) took(in *inheritance) error {
	if in == nil {
		return nil
	}
	if err := in.conn.Send(word{Took: true}); err != nil {
		return fmt.Errorf("take over from the agentd that runs: %w", err)
	}
	d.theirs = false
	if err := errors.Join(d.capture.Resume(), d.socket.Claim()); err != nil {
		return fmt.Errorf("go on where another agentd was: %w", err)
	}
	d.expect(in.estate.Processes)
	d.log.Info("took over from the agentd that ran", "pid", in.conn.PID)
	return nil
}

// listen makes the sockets of the daemon, or takes those that it was given.
func (d *Daemon) listen(in *inheritance) (err error) {
	if in == nil {
		if d.socket, err = control.Listen(d.config.Socket); err != nil {
			return err
		}
		if d.doors, err = handover.Listen(d.config.doorsPath()); err != nil {
			return errors.Join(err, d.socket.Close())
		}
		return d.listenMetrics(nil)
	}
	socket, lock := in.socket, in.lock
	in.socket, in.lock = nil, nil
	if lock, err = renamed(lock, d.config.Socket+".lock"); err != nil {
		return errors.Join(err, socket.Close())
	}
	d.socket, err = control.Adopt(d.config.Socket, socket, lock)
	if err := errors.Join(err, socket.Close()); err != nil {
		return err
	}
	d.doors, in.doors = handover.Adopt(d.config.doorsPath(), in.doors), nil
	return d.listenMetrics(in)
}

// listenMetrics is listen for metrics.
func (d *Daemon) listenMetrics(in *inheritance) error {
	if d.config.Metrics == "" {
		return nil
	}
	if in != nil && in.metrics != nil && in.estate.Metrics == d.config.Metrics {
		d.metrics, in.metrics = in.metrics, nil
		return nil
	}
	l, err := net.Listen("tcp", d.config.Metrics)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w (set `metrics: \"\"` to go without)", err)
	}
	defer l.Close()
	d.metrics, err = l.(*net.TCPListener).File()
	return err
}

// closeSockets gives the sockets up, and their names if they are ours.
func (d *Daemon) closeSockets() error {
	if d.socket == nil || d.doors == nil {
		return nil
	}
	socket, doors := d.socket, d.doors
	d.socket, d.doors = nil, nil
	handover.Close(d.metrics)
	d.metrics = nil
	if d.theirs {
		return errors.Join(doors.Leave(), socket.Leave())
	}
	return errors.Join(doors.Close(), ignoreClosed(socket.Close()))
}

// logLock returns the lock of the log, nil if nobody gave it.
func (in *inheritance) logLock(folder string) (*os.File, error) {
	if in == nil {
		return nil, nil
	}
	f := in.log
	in.log = nil
	return renamed(f, folder+"/lock")
}

// captured returns what the kernel side needs, nil if nobody gave it.
func (in *inheritance) captured() *capture.Inheritance {
	if in == nil {
		return nil
	}
	return in.estate.Capture
}

func dupFD(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// leaveWithin is how long a process that had sessions when this agentd took
// over may take to come and have them recorded.
const leaveWithin = 30 * time.Second
