package agentd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/internal/lab"
)

const (
	siegeSessions  = 100 // of each of the two workloads
	siegeStreaming = 20  // of these
	siegeIdle      = time.Minute
	awayFor        = time.Second     // how long agentd is dead
	hungFor        = 5 * time.Second // more than HUNG_NS of bpf/listener.h
)

// TestNothingIsLostOrLeakedWhateverHappensToTheDaemon kills, stops, continues,
// upgrades and restarts a daemon under sessions that stream and sessions that
// are idle for a minute, while somebody connects 40 times a second. No byte of
// a workload to be refused may go around agentd, no connection of one that may
// bypass it may fail, and no session may end but those of a daemon that was
// killed.
func TestNothingIsLostOrLeakedWhateverHappensToTheDaemon(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.Setting("max_connections=500"), lab.Setting("log_statement=none"))
	for _, whenDown := range []string{"refuse", "bypass"} {
		t.Run(whenDown, func(t *testing.T) {
			t.Parallel()
			s := startSiege(t, server, whenDown)
			s.happen(t)
			s.judge(t, whenDown)
			if t.Failed() {
				t.Log(s.agentd.Said())
			}
		})
	}
}

// A siege is a daemon and a workload that goes on whatever happens to it.
type siege struct {
	agentd  *lab.Agentd
	server  *lab.Server
	group   *lab.Cgroup
	witness *witness
	knocker *besieger

	outages []period // when agentd could not take connections
	deaths  []period // while what it had taken died with it
}

type period struct{ from, to time.Time }

func (p period) overlaps(k knock) bool { return k.Start.Before(p.to) && k.End.After(p.from) }

type knock struct {
	Start, End time.Time
	Err        string
}

func startSiege(t *testing.T, server *lab.Server, whenDown string) *siege {
	t.Helper()
	s := &siege{server: server, witness: startWitness(t)}
	s.agentd = lab.NewAgentd(t, lab.Setup{
		Policy: lawful, Target: server,
		Config: "unlisted: observe\nlimits: {drain: 2s}\n",
	})
	s.group = s.agentd.Root.Child(t, "agents")
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	edit(t, s.agentd, func(config string) string {
		return strings.Replace(config, "capture: {", fmt.Sprintf("capture: {onStop: hold, whenDown: %s, workloads: [{name: agents, cgroup: %q}], ",
			whenDown, strings.TrimPrefix(s.group.Path, hierarchy)), 1)
	})
	s.start(t)
	s.knocker = s.run(t, "-knock", s.witness.addr)
	return s
}

func (s *siege) start(t *testing.T) {
	t.Helper()
	if err := s.agentd.Start(t); err != nil {
		t.Fatal(err)
	}
}

// happen is all that happens to the daemon.
func (s *siege) happen(t *testing.T) {
	t.Helper()
	doomed := s.run(t, "-sessions", fmt.Sprint(siegeSessions), "-streaming", fmt.Sprint(siegeStreaming))
	s.kill(t)
	doomed.cmd.Process.Kill()

	lasting := s.run(t, "-sessions", fmt.Sprint(siegeSessions), "-streaming", fmt.Sprint(siegeStreaming))
	idle := time.Now()
	began := s.agentd.Process // has the lasting sessions from here to the end
	s.hang(t)
	s.start(t) // which is an upgrade
	s.restart(t)
	s.start(t) // and another, after which it all goes on
	<-time.After(time.Until(idle.Add(siegeIdle)))

	if got := s.ends(t, lasting); got != fmt.Sprintln(siegeSessions) {
		t.Errorf("%q of %d sessions had all their answers:\n%s", got, siegeSessions, lasting.said)
	}
	if err := began.Wait(); err != nil {
		t.Errorf("the daemon whose sessions had outlived it ended with %v", err)
	}
}

func (s *siege) kill(t *testing.T) {
	t.Helper()
	from := time.Now()
	s.agentd.Process.Stop(syscall.SIGKILL)
	s.deaths = append(s.deaths, period{from, time.Now()})
	<-time.After(awayFor)
	s.start(t)
	s.outages = append(s.outages, period{from, time.Now()})
}

func (s *siege) hang(t *testing.T) {
	t.Helper()
	from := time.Now()
	_ = s.agentd.Process.Cmd.Process.Signal(syscall.SIGSTOP)
	<-time.After(hungFor)
	_ = s.agentd.Process.Cmd.Process.Signal(syscall.SIGCONT)
	// It may say that it is alive again up to half a second later.
	s.outages = append(s.outages, period{from, time.Now().Add(time.Duration(lab.Slower(t)) * 2 * time.Second)})
}

func (s *siege) restart(t *testing.T) {
	t.Helper()
	from := time.Now()
	s.agentd.Process.Stop(syscall.SIGTERM)
	if err := s.agentd.Process.Wait(); err != nil {
		t.Errorf("stop on purpose: %v", err)
	}
	s.start(t)
	s.outages = append(s.outages, period{from, time.Now()})
}

// judge looks at what came of it.
func (s *siege) judge(t *testing.T, whenDown string) {
	t.Helper()
	var counts struct{ answered, failed int }
	lines := bufio.NewScanner(strings.NewReader(s.ends(t, s.knocker)))
	for lines.Scan() {
		var k knock
		if err := json.Unmarshal(lines.Bytes(), &k); err != nil {
			t.Fatalf("the knocker printed %q: %v", lines.Text(), err)
		}
		if k.Err == "" {
			counts.answered++
			continue
		}
		counts.failed++
		excused := s.deaths
		if whenDown == "refuse" {
			excused = s.outages
		}
		if !within(excused, k) {
			t.Errorf("a connection from %s to %s failed: %s", k.Start.Format("05.000"), k.End.Format("05.000"), k.Err)
		}
	}
	direct, through := s.witness.direct.Load(), s.witness.through.Load()
	t.Logf("%d connections answered, %d not; %d reached the server through agentd, %d directly", counts.answered, counts.failed, through, direct)
	switch {
	case whenDown == "refuse" && direct > 0:
		t.Errorf("%d connections went around agentd", direct)
	case whenDown == "refuse" && counts.failed == 0, whenDown == "bypass" && direct == 0, through < 100:
		t.Error("agentd was never away, or never there: the test is too tame to mean anything")
	}
	if out, err := s.agentd.Ctl(t, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

func within(periods []period, k knock) bool {
	for _, p := range periods {
		if p.overlaps(k) {
			return true
		}
	}
	return false
}

// A besieger is one process of the workload.
type besieger struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said *strings.Builder
}

// run starts a siege program in the workload and returns once it is ready.
func (s *siege) run(t *testing.T, args ...string) *besieger {
	t.Helper()
	b := &besieger{said: &strings.Builder{}}
	b.cmd = s.group.Put(exec.Command(lab.Binary(t, "./agentd/internal/lab/siege"), args...))
	b.cmd.Env = append(os.Environ(), "PGHOST="+s.server.Addr.Addr().String(), fmt.Sprint("PGPORT=", s.server.Addr.Port()),
		"PGUSER="+s.server.User, "PGPASSWORD="+s.server.Password, "PGDATABASE="+s.server.Database, "PGSSLMODE=disable")
	b.cmd.Stderr = b.said
	in, err := b.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.in, b.out = in, bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expectLine(t, b.out, "ready\n")
	return b
}

// ends lets a besieger come to its end and returns what it printed.
func (s *siege) ends(t *testing.T, b *besieger) string {
	t.Helper()
	b.in.Close()
	out, err := io.ReadAll(b.out)
	if err != nil {
		t.Error(err)
	}
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", filepath.Base(b.cmd.Path), err, b.said)
	}
	return string(out)
}

// A witness is a server that clients tell which port they connect from: from
// another one, somebody is in between.
type witness struct {
	addr            string
	direct, through atomic.Int64
}

func startWitness(t *testing.T) *witness {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &witness{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.answer(conn)
		}
	}()
	return w
}

func (w *witness) answer(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return // nothing reached us
	}
	if strings.TrimSpace(line) == fmt.Sprint(conn.RemoteAddr().(*net.TCPAddr).Port) {
		w.direct.Add(1)
	} else {
		w.through.Add(1)
	}
	_, _ = io.WriteString(conn, "yes\n")
}
