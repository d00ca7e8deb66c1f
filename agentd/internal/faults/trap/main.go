// Command trap becomes the program that its arguments name, with the calls that
// package faults traps waiting for whoever listens at a socket.
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/faults"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "trap:", err)
		os.Exit(1)
	}
}

func run(socket string, args []string) error {
	runtime.LockOSThread()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	listener, err := faults.Install()
	if err != nil {
		return err
	}
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(listener), nil); err != nil {
		return err
	}
	var taken [1]byte
	if _, err := conn.Read(taken[:]); err != nil {
		return err
	}
	return syscall.Exec(args[0], args, os.Environ())
}
