package capture_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// An actor is this test binary as another process, which does what it is
// asked in JSON on its standard input and answers on its standard output.
type actor[Q, A any] struct {
	pid     int
	process *lab.Process
	asks    *json.Encoder
	answers *json.Decoder
}

// startActor starts the actor that the environment variable env makes of us, in
// a cgroup and a network namespace (nil: ours).
func startActor[Q, A any](t testing.TB, env string, group *lab.Cgroup, netns *lab.Netns) *actor[Q, A] {
	t.Helper()
	cmd := group.Put(exec.Command("/proc/self/exe"))
	cmd.Env = append(os.Environ(), env+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	path := ""
	if netns != nil {
		path = netns.Path
	}
	p := lab.Start(t, cmd, path, syscall.SIGKILL)
	return &actor[Q, A]{cmd.Process.Pid, p, json.NewEncoder(in), json.NewDecoder(out)}
}

// do has the actor do something and returns what came of it.
func (a *actor[Q, A]) do(t testing.TB, q Q) (got A) {
	t.Helper()
	if err := a.asks.Encode(q); err != nil {
		t.Fatalf("ask process %d: %v", a.pid, err)
	}
	if err := a.answers.Decode(&got); err != nil {
		t.Fatalf("hear from process %d: %v", a.pid, err)
	}
	return got
}
