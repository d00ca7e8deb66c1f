package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// An Agentd is a daemon of our own, attached to a cgroup subtree of its own.
type Agentd struct {
	Dir     string  // scratch folder
	Socket  string  // of the control API
	Log     string  // folder of the record
	Key     string  // public key of the record
	Root    *Cgroup // what it is attached to
	In      *Cgroup // where Start puts the daemon; nil for the test's own cgroup
	Config  string  // path of its configuration
	Process *Process
	Args    []string // of the daemon, besides its configuration
	Wrap    []string // what the daemon is started through, as setpriv

	daemon string // program
}

// A Setup says how an Agentd differs from the usual one.
type Setup struct {
	Policy string   // a policy file's text; "" for none
	Target *Server  // known as target "orders"; nil for none
	TLS    string   // of the target, as {client: offer}
	Keys   string   // more keys of the target, as "durability: disk"
	Open   bool     // lets through what was not understood
	Config string   // more lines of the configuration
	State  string   // folder of the record; "" for one in Dir
	Flags  []string // of go build, as "-race"
}

// StartAgentd builds and starts a daemon and returns once it is ready. It, the
// programs it attached and all it made are gone when the test ends.
func StartAgentd(t testing.TB, setup Setup) *Agentd {
	t.Helper()
	a := NewAgentd(t, setup)
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	return a
}

// NewAgentd prepares a daemon without starting it.
func NewAgentd(t testing.TB, setup Setup) *Agentd {
	t.Helper()
	dir := t.TempDir()
	if setup.State == "" {
		setup.State = filepath.Join(dir, "state")
	}
	a := &Agentd{
		Dir:    dir,
		Socket: filepath.Join(dir, "agentd.sock"),
		Log:    filepath.Join(setup.State, "log"),
		Key:    filepath.Join(setup.State, "keys", "node.key.pub"),
		Root:   NewCgroup(t),
		Config: filepath.Join(dir, "agentd.yaml"),
		daemon: Binary(t, "./cmd/agentd", setup.Flags...),
	}
	pins := Pins(t)
	policies := filepath.Join(dir, "policies")
	if err := os.Mkdir(policies, 0o755); err != nil {
		t.Fatal(err)
	}
	if setup.Policy != "" {
		a.write(t, filepath.Join(policies, "policy.yaml"), setup.Policy)
	}
	var config strings.Builder
	fmt.Fprintf(&config, "node: lab\nstate: %s\nsocket: %s\nmetrics: \"\"\ncapture: {root: %s, pins: %s}\npolicies: [%s]\n",
		setup.State, a.Socket, a.Root.Path, pins, policies)
	if s := setup.Target; s != nil {
		unclassified := "deny"
		if setup.Open {
			unclassified = "allow"
		}
		tls := setup.TLS
		if tls == "" {
			tls = "{}"
		}
		keys := setup.Keys
		if keys != "" {
			keys = ", " + keys
		}
		fmt.Fprintf(&config, "targets: [{name: orders, address: %q, protocol: postgres, default: allow, unclassified: %s, tls: %s%s}]\n", s.Addr, unclassified, tls, keys)
	}
	config.WriteString(setup.Config)
	a.write(t, a.Config, config.String())
	return a
}

func (a *Agentd) write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Start starts the daemon, again if it has ended, and returns once it says
// that it is ready. An error holds what it said instead.
func (a *Agentd) Start(t testing.TB) error {
	t.Helper()
	path := filepath.Join(a.Dir, "notify")
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	defer ready.Close()
	args := append(append(slices.Clone(a.Wrap), a.daemon, "--config", a.Config), a.Args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	said, err := os.OpenFile(filepath.Join(a.Dir, "stderr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	if a.In != nil {
		a.In.Put(cmd)
	}
	a.Process = Start(t, cmd, "", syscall.SIGTERM)
	if err := awaitReady(ready, a.Process); err != nil {
		return fmt.Errorf("start agentd: %w\n%s", err, a.Said())
	}
	return nil
}

// Said returns what the daemon has printed so far.
func (a *Agentd) Said() string {
	text, err := os.ReadFile(filepath.Join(a.Dir, "stderr"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Captured returns cmd, which has not been started, as a run of the daemon's.
func (a *Agentd) Captured(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	run := exec.Command(Binary(t, "./cmd/agentctl"), "--socket", a.Socket, "run", "--name", "lab", "--")
	run.Args = append(run.Args, cmd.Args...)
	run.Args[len(run.Args)-len(cmd.Args)] = cmd.Path
	run.Env, run.Dir = cmd.Env, cmd.Dir
	run.Stdin, run.Stdout, run.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	return run
}

// Ctl runs agentctl and returns what it printed. An error holds what it said.
func (a *Agentd) Ctl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return a.ctl(exec.Command(Binary(t, "./cmd/agentctl"), append([]string{"--socket", a.Socket}, args...)...), args)
}

// CtlBy is Ctl by somebody who has logged in as that user, and become root.
// Whoever starts a program by Captured has not, and so is somebody else.
func (a *Agentd) CtlBy(t testing.TB, login uint32, args ...string) (string, error) {
	t.Helper()
	become := []string{"-c", `echo "$0" >/proc/self/loginuid && exec "$@"`, fmt.Sprint(login), Binary(t, "./cmd/agentctl"), "--socket", a.Socket}
	return a.ctl(exec.Command("sh", append(become, args...)...), args)
}

func (a *Agentd) ctl(cmd *exec.Cmd, args []string) (string, error) {
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("agentctl %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

// Program returns the path of the daemon's program.
func (a *Agentd) Program() string { return a.daemon }
