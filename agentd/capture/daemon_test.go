package capture_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// daemonEnv makes the test binary a daemon that captures what it is told in
// JSON, until it is killed.
const daemonEnv = "CAPTURE_TEST_DAEMON"

type daemonSetup struct {
	Root, Pins string
	Workloads  []capture.Workload
	Dial       *request // made by the daemon itself once it is ready
	Takeover   capture.Takeover
	Hold       string // address the daemon itself connects to before it captures, and speaks to afterwards
	Unguard    bool   // capture all once more, without strict mode
	Netns      string // path of the one that is the daemon's host's; "": ours
}

// startDaemon starts a daemon in a cgroup of its own below group (nil: in
// ours), waits until it is ready and returns it with what came of its Dial.
func startDaemon(t testing.TB, group *lab.Cgroup, setup daemonSetup) (*lab.Process, response) {
	t.Helper()
	text, err := json.Marshal(setup)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	if group != nil {
		group.Put(cmd)
	}
	cmd.Env = append(os.Environ(), daemonEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := lab.Start(t, cmd, setup.Netns, syscall.SIGKILL)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the daemon did not start: %v", err)
	}
	var got response
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return p, got
}

func daemonMain() {
	var setup daemonSetup
	if err := json.Unmarshal([]byte(os.Getenv(daemonEnv)), &setup); err != nil {
		panic(err)
	}
	c, err := capture.Open(capture.Options{Root: setup.Root, Pins: setup.Pins, UDP: []uint16{53}, Takeover: setup.Takeover})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var own net.Conn
	if setup.Hold != "" {
		if own, err = net.Dial("tcp", setup.Hold); err != nil {
			panic(err)
		}
	}
	for _, w := range setup.Workloads {
		if _, err := c.Add(w); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if setup.Unguard {
		for _, w := range setup.Workloads {
			w.Strict = false
			if _, err := c.Add(w); err != nil {
				panic(err)
			}
		}
		if err := c.Reconcile(); err != nil {
			panic(err)
		}
	}
	conns := make(chan capture.Conn, 1000)
	go forward(c, conns)
	var got response
	if setup.Dial != nil {
		got = setup.Dial.run()
	}
	if own != nil {
		if got.Seen, err = speak(own); err != nil {
			got.Err = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(got); err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // the parent's, closed: killed is how it ends
	select {}
}
