// Command init is the first process of the machine that scripts/vm.sh boots: it
// makes the host's files the root, with a scratch layer over them, mounts what a
// Debian host has mounted, runs the command it finds in the job folder as
// root, and reports its exit status to the host.
//
// The status is written to a port of its own, once, after the command has ended
// and all its output has been taken by the host. A machine that crashes, hangs
// or is cut off never writes one.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // what a command inherits is this thread's
	if err := run(); err != nil {
		// A message of the kernel's own level 0 reaches the console however quiet it is.
		if kmsg, open := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); open == nil {
			fmt.Fprintf(kmsg, "<0>init: %v\n", err)
		}
	}
	unix.Sync()
	// -no-reboot makes it the end of qemu, which needs no ACPI.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

func run() error {
	if err := early(); err != nil {
		return err
	}
	if err := load("/modules"); err != nil {
		return err
	}
	job, err := readJob()
	if err != nil {
		return err
	}
	if err := root(); err != nil {
		return err
	}
	if err := mounts(job.keep); err != nil {
		return err
	}
	if err := machine(); err != nil {
		return err
	}
	status, err := job.run()
	if err != nil {
		return err
	}
	port, err := port("status")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(port, "exit %d\n", status)
	return errors.Join(err, port.Close())
}
