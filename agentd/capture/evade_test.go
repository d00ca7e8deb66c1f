package capture_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// sysctl sets one of a network namespace's own.
func sysctl(t testing.TB, netns *lab.Netns, name, value string) {
	t.Helper()
	netns.Do(t, func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

func TestAFamilyThatComesLaterIsNotBypassed(t *testing.T) {
	f := start(t, capture.Options{})
	netns := lab.NewNetns(t)
	sysctl(t, netns, "ipv6/conf/lo/disable_ipv6", "1")
	group := f.root.Child(t, "agent")
	if _, err := f.Add(capture.Workload{Cgroup: group.Path, Name: "agent", WhenDown: capture.Bypass}, netns.File); err != nil {
		t.Fatal(err)
	}
	sysctl(t, netns, "ipv6/conf/lo/disable_ipv6", "0")
	s := serve(t, "::1", netns)
	got := startClient(t, group, netns).do(t, request{Dest: s.addr})
	if got.Err != "connect: connection refused" || len(s.asked) > 0 {
		t.Errorf("%+v, and the server was asked %d times, want it refused: agentd is there", got, len(s.asked))
	}
}

// tricks are what a process does whose cgroup is unknown, or whose network
// namespace is not listened in yet. Each connects to the address, says its name
// and prints what it hears.
var tricks = map[string]string{
	// The port that connections wait for is the same everywhere: it is found
	// in one namespace and taken in the next, before anybody listens there.
	"squat": `
c = connection(); go(c)
port = [int(l.split()[2].split(":")[1], 16) for l in open("/proc/net/tcp").readlines()[1:] if l.split()[2].startswith("0100007F")][0]
talk(c)
with open(sys.argv[3]) as f:
    if LIBC.setns(f.fileno(), 0): sys.exit("setns")
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
l.bind(("127.0.0.1", port)); l.listen(); l.settimeout(1)
c = connection(); go(c); talk(c)
try: l.accept(); sys.exit("the squatter has got the connection")
except TimeoutError: pass
`,
	"connect again while it waits": `
c = connection(); go(c)
for i in range(200):
    if LIBC.connect(c.fileno(), bytes(16), 16): break
    try: c.connect(to)
    except BlockingIOError: pass
talk(c)
`,
	"options": `
c = connection()
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
go(c)
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 127)
talk(c)
`,
	"many threads on one socket": `
c = connection()
def turn():
    for i in range(50):
        try: c.connect(to)
        except OSError: pass
        LIBC.connect(c.fileno(), bytes(16), 16)
threads = [threading.Thread(target=turn) for i in range(8)]
for t in threads: t.start()
for t in threads: t.join()
LIBC.connect(c.fileno(), bytes(16), 16)
go(c); talk(c)
`,
	"send with the first packet": `
c = connection()
c.setsockopt(socket.IPPROTO_TCP, 34, 1) # TCP_FASTOPEN_NO_COOKIE
try: c.sendto(b"word\n", socket.MSG_FASTOPEN, to)
except BlockingIOError: pass
talk(c)
`,
	"closed and opened": `
for i in range(100):
    c = connection(); go(c); c.close()
c = connection(); go(c); talk(c)
`,
}

const trickster = `
import ctypes, select, socket, sys, threading
LIBC = ctypes.CDLL(None, use_errno=True)
to = sys.argv[1], int(sys.argv[2])
def connection():
    c = socket.socket(); c.setblocking(False); return c
def go(c):
    try: c.connect(to)
    except BlockingIOError: pass
def talk(c):
    poll = select.poll(); poll.register(c, select.POLLOUT)
    if not poll.poll(2000): return
    c.setblocking(True); c.settimeout(3)
    try: c.sendall(b"word\n"); c.recv(100)
    except OSError: pass
`

// Nobody dials, so that all a server outside hears has got past.
func TestNoTrickGetsPastTheHold(t *testing.T) {
	const pod, node = "10.77.0.2", "10.77.0.1"
	for name, trick := range tricks {
		for _, unknown := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, unknown %t", name, unknown), func(t *testing.T) {
				f := open(t, lab.NewCgroup(t), capture.Options{})
				came := make(chan struct{}, 1000)
				f.forwarding.Go(func() {
					for {
						conn, err := f.Accept(context.Background())
						if err != nil {
							return
						}
						came <- struct{}{}
						unix.Close(conn.FD)
					}
				})
				group := f.root.Child(t, "pods")
				var err error
				if unknown {
					_, err = f.Watch(group.Path, capture.UnknownHold, capture.Refuse)
				} else { // captured, and nobody listens where it will be
					_, err = f.Add(capture.Workload{Cgroup: group.Path, Name: "pods"}, lab.NewNetns(t).File)
				}
				if err != nil {
					t.Fatal(err)
				}
				host, netns, next := lab.NewNetns(t), lab.NewNetns(t), lab.NewNetns(t)
				lab.Connect(t, host, node, netns, pod)
				lab.Connect(t, host, "10.78.0.1", next, "10.78.0.2")
				next.Route(t, "10.77.0.0/16", "10.78.0.1")
				s := serve(t, node, host)
				cmd := group.Child(t, "pod").Put(exec.Command("nsenter", "--net="+netns.Path, "python3", "-c", trickster+trick,
					node, strconv.Itoa(int(s.addr.Port())), next.Path))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				if n := len(s.asked); n > 0 {
					t.Errorf("the server was asked %d times", n)
				}
				select {
				case <-came:
				case <-time.After(10 * time.Second):
					t.Error("nothing came to agentd")
				}
			})
		}
	}
}
