package capture_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// echo answers on a TCP and a UDP port of an address for as long as the test
// runs, each question with its sender's address. Unlike server, it goes on after the first.
func echo(t testing.TB, host string, netns *lab.Netns) (tcp, udp string) {
	t.Helper()
	var (
		l net.Listener
		p net.PacketConn
	)
	listen := func() (err error) {
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return err
		}
		p, err = net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		return err
	}
	if netns != nil {
		netns.Do(t, listen)
	} else if err := listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); p.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewReader(c); ; {
					if _, err := lines.ReadString('\n'); err != nil {
						return
					}
					_, _ = io.WriteString(c, c.RemoteAddr().String())
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 256)
		for {
			_, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo([]byte(from.String()), from)
		}
	}()
	return l.Addr().String(), p.LocalAddr().String()
}

// full returns an address where connections are neither accepted nor refused.
func full(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := addrPort(bound).String()
	waiting, err := net.Dial("tcp", addr) // takes the one place there is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { waiting.Close() })
	return addr
}

// said is what matters of an Earlier to a test.
func said(e *capture.Earlier) string {
	return strings.TrimSpace(fmt.Sprint(e.Protocol, " ", e.Remote, " ", e.State, " ", map[bool]string{true: "accepted"}[e.Accepted], map[bool]string{true: "foreign"}[e.Foreign]))
}

func list(t testing.TB, f *fixture, id uint64) (all []string) {
	t.Helper()
	found, err := f.Earlier(id)
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		all = append(all, said(&found[i]))
	}
	slices.Sort(all)
	return all
}

// crowd is two holders in a namespace, one in a cgroup to be captured and one
// beside it, with the same connections each.
type crowd struct {
	group      *lab.Cgroup
	netns      *lab.Netns
	agent, not *holder
	want       []string // the connections of each
	dialled    int      // how many connections each has made and keeps
}

func gather(t testing.TB, f *fixture, netns *lab.Netns) *crowd {
	t.Helper()
	c := &crowd{group: f.root.Child(t, "agent"), netns: netns}
	c.agent, c.not = startHolder(t, c.group.Child(t, "nested"), netns), startHolder(t, f.root.Child(t, "neighbour"), netns)
	tcp4, udp4 := echo(t, "127.0.0.1", netns)
	tcp6, udp6 := echo(t, "::1", netns)
	for _, d := range []struct{ network, addr, shown string }{
		{"tcp", tcp4, "tcp " + tcp4 + " established"},
		{"tcp", tcp6, "tcp " + tcp6 + " established"},
		{"udp", udp4, "udp " + udp4 + " established"},
		{"udp", udp6, "udp " + udp6 + " established"},
	} {
		for _, h := range []*holder{c.agent, c.not} {
			n := h.must(t, order{Dial: d.network, Addr: d.addr})
			h.must(t, order{Speak: n.Number})
		}
		c.want, c.dialled = append(c.want, d.shown), c.dialled+1
	}
	return c
}

func TestConnectionsFromBeforeAreListed(t *testing.T) {
	f := start(t, capture.Options{})
	c := gather(t, f, nil)
	at := full(t)
	c.agent.must(t, order{Dial: "tcp", Start: true, Addr: at})
	c.want = append(c.want, "tcp "+at+" syn-sent")
	own := c.agent.must(t, order{Listen: "tcp", Addr: "127.0.0.1:0"})
	client, err := net.Dial("tcp", own.Local.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c.agent.must(t, order{Accept: true})
	c.want = append(c.want, "tcp "+client.LocalAddr().String()+" established accepted")
	slices.Sort(c.want)

	id, err := f.Add(capture.Workload{Cgroup: c.group.Path, Name: "agent", Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	await(t, "the connection that is being made", func() bool { got = list(t, f, id); return len(got) >= len(c.want) })
	if !slices.Equal(got, c.want) {
		t.Errorf("got  %q\nwant %q", got, c.want)
	}
	found, err := f.Earlier(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if e.PID != c.agent.pid || e.Workload != id {
			t.Errorf("%s is said to be of pid %d in workload %d, want %d in %d", said(&e), e.PID, e.Workload, c.agent.pid, id)
		}
	}

	// What goes through agentd is not listed.
	tcp, _ := echo(t, "127.0.0.1", nil)
	c.agent.must(t, order{Dial: "tcp", Addr: tcp})
	f.accepted(t)
	if got := list(t, f, id); !slices.Equal(got, c.want) {
		t.Errorf("after one through agentd: got  %q\nwant %q", got, c.want)
	}
}

func TestConnectionsFromBeforeAreReset(t *testing.T) {
	for _, tt := range []struct {
		name  string
		netns *lab.Netns
	}{{"in the host's namespace", nil}, {"in one of its own", lab.NewNetns(t)}} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, capture.Options{Takeover: capture.Destroy})
			if err := f.CanDestroy(); err != nil {
				t.Fatal(err)
			}
			c := gather(t, f, tt.netns)
			own := c.agent.must(t, order{Listen: "tcp", Addr: "127.0.0.1:0"})
			c.not.must(t, order{Dial: "tcp", Addr: own.Local.String()})
			c.agent.must(t, order{Accept: true})

			id, err := f.Add(capture.Workload{Cgroup: c.group.Path, Name: "agent", Source: "test"})
			if err != nil {
				t.Fatal(err)
			}
			for n := range c.dialled {
				// TCP's is aborted, UDP's connected no more.
				if got := c.agent.do(t, order{Speak: n}); !strings.Contains(got.Err, "connection abort") && !strings.Contains(got.Err, "destination address required") {
					t.Errorf("connection %d of the workload: %+v, want it reset", n, got)
				}
				c.not.must(t, order{Speak: n}) // the neighbour's
			}
			if got := list(t, f, id); len(got) != 1 || !strings.HasSuffix(got[0], "established accepted") {
				t.Errorf("%q are left, want the accepted one", got)
			}
			if n, err := f.Destroy(id); n != 0 || err != nil {
				t.Errorf("once more: %d reset, %v; want none", n, err)
			}

			// It comes back through agentd, and that is not reset.
			back := c.agent.must(t, order{Dial: "tcp", Addr: strings.Fields(c.want[0])[1]})
			if conn := f.accepted(t); conn.Peer.TGID != c.agent.pid {
				t.Errorf("accepted a connection of pid %d, want %d", conn.Peer.TGID, c.agent.pid)
			}
			if _, err := f.Add(capture.Workload{Cgroup: c.group.Path, Name: "renamed", Source: "test"}); err != nil {
				t.Fatal(err)
			}
			if n, err := f.Destroy(id); n != 0 || err != nil {
				t.Errorf("%d reset, %v; want what goes through agentd left alone", n, err)
			}
			c.agent.must(t, order{Speak: back.Number})
		})
	}
}

func TestAForeignConnectionIsListedAndLeftAlone(t *testing.T) {
	f := start(t, capture.Options{})
	group, elsewhere := f.root.Child(t, "agent"), f.root.Child(t, "elsewhere")
	h := startHolder(t, elsewhere, nil)
	tcp, _ := echo(t, "127.0.0.1", nil)
	n := h.must(t, order{Dial: "tcp", Addr: tcp})
	move(t, h.pid, group)
	id, err := f.Add(capture.Workload{Cgroup: group.Path, Name: "agent", Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, f, id), []string{"tcp " + tcp + " established foreign"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n, err := f.Destroy(id); n != 0 || err != nil {
		t.Errorf("%d reset, %v; want it left alone", n, err)
	}
	h.must(t, order{Speak: n.Number})
}

func TestAgentdsOwnConnectionsAreNotReset(t *testing.T) {
	root := lab.NewCgroup(t)
	tcp, _ := echo(t, "127.0.0.1", nil)
	h := startHolder(t, root.Child(t, "agent"), nil)
	n := h.must(t, order{Dial: "tcp", Addr: tcp})
	_, got := startDaemon(t, root.Child(t, "agentd"), daemonSetup{
		Root: root.Path, Takeover: capture.Destroy, Hold: tcp,
		Workloads: []capture.Workload{{Cgroup: root.Path, Name: "everything", Source: "test"}},
	})
	if got.Err != "" || got.Seen == "" {
		t.Errorf("agentd's own connection: %+v, want it left alone", got)
	}
	if got := h.do(t, order{Speak: n.Number}); got.Err == "" {
		t.Error("the one beside it was not reset")
	}
}

// move moves a process to another cgroup.
func move(t testing.TB, pid int, to *lab.Cgroup) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(to.Path, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
}
