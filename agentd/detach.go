package agentd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/control"
)

// answerWithin is how long a daemon that is well may take to say so.
const answerWithin = 3 * time.Second

// Detach removes every trace of an agentd with this configuration from the
// node, except for its record: what is attached and pinned in the kernel, the
// cgroups of runs that are over, and its sockets. It says on out what it did.
//
// It works when no agentd runs and when the one that does hangs. One that
// answers is an error, because it would go on without capturing, unless forced.
func Detach(ctx context.Context, config *Config, out io.Writer, force bool) error {
	pid, held, err := control.Holder(config.Socket)
	if err != nil {
		return err
	}
	if held && !force && well(ctx, config.Socket) {
		return fmt.Errorf("agentd (pid %d) runs and is well: stop it, as with `systemctl stop agentd`, which detaches; --force detaches under it", pid)
	}
	if !held { // and none shall start meanwhile
		socket, err := control.Listen(config.Socket)
		if err != nil {
			return err
		}
		defer socket.Close()
	}
	d := detaching{out: out}
	d.kernel(config.Capture.Pins)
	d.runs(config.Capture.Root)
	for _, path := range []string{config.doorsPath(), config.Socket, config.Socket + ".lock"} {
		d.file(path)
	}
	if held {
		fmt.Fprintf(out, "agentd (pid %d) is still there and captures nothing any more: end it with kill -9\n", pid)
	}
	if config.Capture.Pins == "" {
		fmt.Fprintln(out, "capture.pins is empty: what is attached goes with the process of agentd")
	}
	return errors.Join(d.errs...)
}

// well reports whether the daemon behind socket is well.
func well(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	client := control.NewClient(socket)
	defer client.Close()
	_, err := client.Targets(ctx) // not Status, which takes longer where workloads cannot be verified
	return err == nil
}

// A detaching is what has been removed so far, and what could not be.
type detaching struct {
	out  io.Writer
	errs []error
}

func (d *detaching) kernel(pins string) {
	if pins == "" {
		return
	}
	found, err := capture.DetachPinned(pins)
	d.errs = append(d.errs, err)
	if found && err == nil {
		fmt.Fprintf(d.out, "detached what was pinned in %s\n", pins)
	}
}

// runs removes the cgroups of runs in which nothing runs any more. What runs
// in the others is not captured any more.
func (d *detaching) runs(root string) {
	if root == "" {
		var err error
		if root, err = cgroup.Hierarchy(); err != nil {
			d.errs = append(d.errs, err)
			return
		}
	}
	folder := filepath.Join(root, runsFolder)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	d.errs = append(d.errs, err)
	left := 0
	for _, e := range entries {
		if e.IsDir() && cgroup.Remove(filepath.Join(folder, e.Name())) != nil {
			fmt.Fprintf(d.out, "left the run %s: something runs in it, not captured any more\n", e.Name())
			left++
		}
	}
	if left == 0 {
		d.file(folder)
	}
}

func (d *detaching) file(path string) {
	switch err := os.Remove(path); {
	case err == nil:
		fmt.Fprintf(d.out, "removed %s\n", path)
	case !errors.Is(err, os.ErrNotExist):
		d.errs = append(d.errs, err)
	}
}
