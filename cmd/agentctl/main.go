// Command agentctl asks agentd, on the same node, what happens, and starts
// programs captured. `agentctl --help` says what it can do.
//
// It exits with 0 when it did what was asked, 1 when it could not or when the
// answer is no, 2 when it was used wrongly. Only run passes on another code:
// that of the program it ran.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	done  = 0
	no    = 1 // or it could not be done
	usage = 2

	interrupted = 128 + int(syscall.SIGINT) // by Ctrl-C, as shells say it
)

func main() {
	os.Exit(execute(context.Background(), newApp(), os.Args[1:]))
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, a *app, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return done
	case errors.As(err, &exit):
		if exit.err != nil {
			a.complain(exit.err)
		}
		return exit.code
	case !a.begun: // cobra did not get as far as the command itself
		a.complain(err)
		a.note("see `%s --help`", cmd.CommandPath())
		return usage
	}
	a.complain(err)
	return no
}

// An exitError ends agentctl with a code, and a complaint unless err is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "the answer is no"
	}
	return e.err.Error()
}

// saidNo ends agentctl after the answer, which is no, was printed.
var saidNo = &exitError{code: no}

// interruptible returns a context that ends when the user presses Ctrl-C. Only
// a command that waits needs it: the others end by the signal, and run has its
// own way with signals.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
