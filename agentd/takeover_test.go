package agentd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

// pooled is a client that keeps its connection and makes a new one when that
// is lost, as pools do. For each line it runs a query, and prints how many
// connections it has made.
const pooled = `
import sys, psycopg2
made, c = 0, None
for line in sys.stdin:
    while True:
        try:
            if c is None:
                c = psycopg2.connect("")
                c.autocommit = True
                made += 1
            q = c.cursor()
            q.execute("select 'pooled'")
            break
        except psycopg2.OperationalError as e:
            c = None
    print(made, flush=True)
`

// A pool runs pooled in a cgroup.
type pool struct {
	in  io.Writer
	out *bufio.Reader
}

func startPool(t *testing.T, group *lab.Cgroup, s *lab.Server) *pool {
	t.Helper()
	cmd := group.Put(exec.Command("/usr/bin/python3", "-c", pooled))
	cmd.Env = append(os.Environ(), "PGHOST="+s.Addr.Addr().String(), "PGPORT="+portOf(s), "PGUSER="+s.User, "PGPASSWORD="+s.Password, "PGDATABASE="+s.Database)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lab.Start(t, cmd, "", unix.SIGKILL)
	return &pool{in, bufio.NewReader(out)}
}

// query fails the test unless a query succeeds, over the connection made as
// the so-manieth.
func (p *pool) query(t *testing.T, connection int) {
	t.Helper()
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		t.Fatal(err)
	}
	expectLine(t, p.out, fmt.Sprintln(connection))
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	for _, tt := range []struct {
		takeover    string
		connections int // that the workload makes in all
		earlier     int // that are listed
	}{
		{"leave", 1, 1},
		{"destroy", 2, 0},
	} {
		t.Run(tt.takeover, func(t *testing.T) {
			agentd := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
			agents := agentd.Root.Child(t, "agents")
			captured, neighbour := startPool(t, agents, server), startPool(t, agentd.Root.Child(t, "neighbour"), server)
			captured.query(t, 1)
			neighbour.query(t, 1)
			edit(t, agentd, func(config string) string {
				_, below, _ := strings.Cut(agents.Path, "/agentd-lab-")
				workload := fmt.Sprintf("{name: agents, cgroup: /agentd-lab-%s}", below)
				return strings.Replace(config, "capture: {", "capture: {takeover: "+tt.takeover+", workloads: ["+workload+"], ", 1)
			})
			if err := agentd.Start(t); err != nil {
				t.Fatal(err)
			}
			var connections []control.Connection
			reported(t, agentd, &connections, "connections")
			var workloads []control.Workload
			reported(t, agentd, &workloads, "workloads")
			if len(connections) != tt.earlier || len(workloads) != 1 || workloads[0].Earlier != tt.earlier {
				t.Errorf("there are %+v, and the workload is %+v, want %d connections from before", connections, workloads, tt.earlier)
			}
			for _, c := range connections {
				if c.Workload != "agents" || c.Remote != server.Addr.String() || c.State != "established" || c.PID == 0 || c.Stays != "" {
					t.Errorf("listed %+v, want the workload's to %s", c, server.Addr)
				}
			}
			captured.query(t, tt.connections)
			neighbour.query(t, 1)
			captured.query(t, tt.connections)
			list := sessions(t, agentd)
			if len(list) != tt.connections-1 {
				t.Errorf("sessions are %+v, want %d", list, tt.connections-1)
			}
		})
	}
}

// reported runs an agentctl command that prints JSON.
func reported(t *testing.T, a *lab.Agentd, to any, args ...string) {
	t.Helper()
	out, err := a.Ctl(t, append(args, "-o", "json")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), to); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
}
