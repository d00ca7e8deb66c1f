package agentd_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"agentd.dev/agentd/internal/lab"
)

// visit connects to each of some addresses as its first act, says what it is
// told to, and prints what it hears: a line for each.
const visit = `
said=$1; shift
for to; do
	exec 3<>"/dev/tcp/${to%:*}/${to##*:}" && echo "$said" >&3 && IFS= read -r heard <&3 && echo "$heard" || echo failed
	exec 3>&-
done
`

// visitor returns a process in a cgroup and a network namespace (nil: ours)
// that visits.
func visitor(in *lab.Cgroup, netns *lab.Netns, said string, to ...string) *exec.Cmd {
	args := append([]string{"bash", "-c", visit, "visitor", said}, to...)
	if netns != nil {
		args = append([]string{"nsenter", "--net=" + netns.Path}, args...)
	}
	return in.Put(exec.Command(args[0], args[1:]...))
}

// visited is a server that answers every line with a word of its own and the
// address that it came from.
type visited struct {
	mu    sync.Mutex // guards heard
	heard []string
}

// serve answers on l until that is closed.
func (v *visited) serve(l net.Listener, word string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil {
				return
			}
			v.mu.Lock()
			v.heard = append(v.heard, strings.TrimSpace(line))
			v.mu.Unlock()
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprintf(conn, "%s %s\n", word, host)
			io.Copy(io.Discard, conn)
		}()
	}
}

// startObserving starts a daemon that captures what is below a cgroup of its
// own, which it returns, and lets through and records wherever it goes.
func startObserving(t *testing.T) (*lab.Agentd, *lab.Cgroup) {
	t.Helper()
	a := lab.NewAgentd(t, lab.Setup{Config: "unlisted: observe\n"})
	edit(t, a, func(config string) string {
		return strings.Replace(config, "capture: {", fmt.Sprintf("capture: {select: [{cgroup: %q}], ", below(t, a)+"/pods/*"), 1)
	})
	pods := a.Root.Child(t, "pods")
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	return a, pods
}

// Two hundred pods' worth of network namespaces and cables come and go in a
// minute. In each, the same address is another server: a connection that was
// answered for the wrong workload would be answered by the wrong one.
func TestTwoHundredNamespacesComeAndGoAndLeaveNothing(t *testing.T) {
	pods := 200 / lab.Slower(t)
	a, group := startObserving(t)
	outside := lab.NewNetns(t)
	var server visited
	go server.serve(outside.Listen(t, "0.0.0.0:7001"), "outside")

	before := leftovers{}
	began := time.Now()
	for i := range pods + 2 {
		if i == 2 { // what is made once has been
			before = awaitStill(t, a, outside, nil)
			began = time.Now()
		}
		t.Run(fmt.Sprint("pod ", i), func(t *testing.T) {
			netns := lab.NewNetns(t)
			own, gateway := fmt.Sprintf("10.78.%d.2", i), fmt.Sprintf("10.78.%d.1", i)
			lab.Connect(t, netns, own, outside, gateway)
			var inside visited
			go inside.serve(netns.Listen(t, "127.0.0.1:7000"), fmt.Sprint("pod ", i))
			in := group.Child(t, fmt.Sprint("pod-", i))
			out, err := visitor(in, netns, fmt.Sprint("from ", i), "127.0.0.1:7000", gateway+":7001").CombinedOutput()
			want := fmt.Sprintf("pod %d 127.0.0.1\noutside %s\n", i, own)
			if string(out) != want || err != nil {
				t.Errorf("heard %q (%v), want %q\n%s", out, err, want, a.Said())
			}
			if err := os.Remove(in.Path); err != nil {
				t.Error(err)
			}
		})
	}
	if took, most := time.Since(began), time.Duration(lab.Slower(t))*time.Minute; took > most {
		t.Errorf("it took %v, want %v at most", took, most)
	}
	names := sessionsOf(t, a)
	for i := range pods + 2 {
		name := strings.TrimPrefix(fmt.Sprintf("%s/pods/pod-%d", below(t, a), i), "/")
		if names[name] != 2 {
			t.Errorf("%s has %d sessions, want 2", name, names[name])
		}
	}
	after := awaitStill(t, a, outside, before)
	for what, n := range after {
		if n > before[what] {
			t.Errorf("%s: %d afterwards, %d before", what, n, before[what])
		}
	}
}

// sessionsOf counts the recorded sessions of each workload.
func sessionsOf(t *testing.T, a *lab.Agentd) map[string]int {
	t.Helper()
	names := map[string]int{}
	for _, s := range summaries(t, a, "--limit", "0") {
		names[s.Workload]++
	}
	return names
}

// leftovers count what connections and namespaces could leave behind.
type leftovers map[string]int

// awaitStill counts until nothing is more than it was at some time before, or
// for ten seconds; without such a time, until it stays as it is.
func awaitStill(t *testing.T, a *lab.Agentd, outside *lab.Netns, before leftovers) (now leftovers) {
	t.Helper()
	for deadline := time.Now().Add(time.Duration(20*lab.Slower(t)) * time.Second); ; {
		last := now
		now = leftovers{
			"descriptors": openFiles(t, a),
			"goroutines":  int(metric(t, a, "go_goroutines")),
			"namespaces":  namespaces(t, a),
			"cables":      cables(t, outside),
		}
		for _, m := range []string{"agentd_workload", "agentd_ports", "agentd_flows", "agentd_locals", "agentd_mptcp"} {
			now[m] = entries(t, a, m)
		}
		more := false
		for what, n := range now {
			more = more || before != nil && n > before[what]
		}
		settled := before == nil && now["agentd_ports"] == 0 && maps.Equal(now, last)
		if settled || before != nil && !more || time.Now().After(deadline) {
			return now
		}
	}
}

// namespaces counts the network namespaces that the daemon keeps alive.
func namespaces(t *testing.T, a *lab.Agentd) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", a.Process.Cmd.Process.Pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, _ := os.Readlink(dir + "/" + f.Name()); strings.HasPrefix(to, "net:") {
			n++
		}
	}
	return n
}

// cables counts the interfaces in a namespace.
func cables(t *testing.T, netns *lab.Netns) (n int) {
	t.Helper()
	netns.Do(t, func() error {
		links, err := netlink.LinkList()
		n = len(links)
		return err
	})
	return n
}

// A thousand workloads, each the first process of a cgroup that nobody has
// heard of, connect as their first act, sixteen at a time.
func TestNoneOfAThousandShortLivedWorkloadsEscapes(t *testing.T) {
	many, atOnce := 1000/lab.Slower(t), 16
	a, group := startObserving(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var server visited
	go server.serve(l, "served")

	places := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i := range many {
		in := group.Child(t, fmt.Sprint("job-", i))
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			out, err := visitor(in, nil, fmt.Sprint("job ", i), l.Addr().String()).CombinedOutput()
			if want := "served 127.0.0.1\n"; string(out) != want || err != nil {
				t.Errorf("job %d heard %q (%v), want %q", i, out, err, want)
			}
			if err := os.Remove(in.Path); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()

	server.mu.Lock()
	heard := len(server.heard)
	server.mu.Unlock()
	names := sessionsOf(t, a)
	if heard != many || len(names) != many {
		t.Errorf("the server heard %d, and %d workloads have sessions, want %d of both\n%s", heard, len(names), many, a.Said())
	}
	if s := status(t, a); int(s.Sessions.Total) != many {
		t.Errorf("there were %d sessions, want %d", s.Sessions.Total, many)
	}
}
