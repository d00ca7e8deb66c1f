package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	// The race detector would have each of the many agentctls wait a second
	// before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"agentctl": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("AGENTD_SOCKET", env.WorkDir+"/agentd.sock")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"as":      as,
			"serve":   serve,
			"record":  record,
			"tamper":  tamper,
			"printed": printed,
		},
		RequireUniqueNames: true,
		// UPDATE_SCRIPTS=1 go test ./cmd/agentctl writes what is printed now
		// into the scripts, to be reviewed as a diff.
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// as runs a command that must exit with a code as root whom a user has become, as
// by sudo: as UID CODE COMMAND [ARG...].
func as(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: as UID CODE COMMAND [ARG...]")
	}
	become := []string{args[1], "sh", "-c", `echo "$0" >/proc/self/loginuid && exec "$@"`, args[0]}
	exits(ts, neg, append(become, args[2:]...))
}

// exits runs a command that must exit with a code: exits CODE COMMAND [ARG...].
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%q exits with %d, want %d", args[1:], got, want)
	}
}
