package capture_test

import (
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// shout sends one datagram to a port, in a way: through a packet socket, past
// everything that has a cgroup, or as usual.
const shout = `
import socket, struct, sys
way, device, source, destination, port = *sys.argv[1:5], int(sys.argv[5])
data = (way + "\n").encode()
if way == "usual":
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(data, (destination, port))
    sys.exit()
udp = struct.pack("!HHHH", 1234, port, 8 + len(data), 0) + data
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(destination))
total = sum(struct.unpack("!10H", ip))
total = (total & 0xffff) + (total >> 16)
ip = ip[:10] + struct.pack("!H", ~total & 0xffff) + ip[12:]
if way == "packet":
    socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM).sendto(ip + udp, (device, 0x0800, 0, 0, b"\xff" * 6))
else:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    if way == "bypass":
        s.setsockopt(socket.SOL_PACKET if hasattr(socket, "SOL_PACKET") else 263, 20, 1) # PACKET_QDISC_BYPASS
    s.bind((device, 0))
    s.send(b"\xff" * 6 + bytes(6) + b"\x08\x00" + ip + udp)
`

func TestStrictModeStopsPacketSockets(t *testing.T) {
	const pod, node = "10.77.0.2", "10.77.0.1"
	stops := !slices.ContainsFunc(start(t, capture.Options{}).Lacks(), func(what string) bool { return strings.Contains(what, "strict mode") })
	for _, mode := range []struct{ strict, ended bool }{{false, false}, {true, false}, {true, true}} {
		strict := mode.strict && !mode.ended
		host, netns, root := lab.NewNetns(t), lab.NewNetns(t), lab.NewCgroup(t)
		device := lab.Connect(t, host, node, netns, pod)
		group := root.Child(t, "agent")
		keeper := startClient(t, group, netns) // the daemon finds the namespace by it
		startDaemon(t, nil, daemonSetup{
			Root:      root.Path,
			Netns:     host.Path,
			Workloads: []capture.Workload{{Cgroup: group.Path, Name: "agent", Strict: mode.strict}},
			Unguard:   mode.ended,
		})
		heard := listenUDP(t, host, net.JoinHostPort(node, "53"))
		server := serve(t, node, host)
		for _, way := range []string{"packet", "raw", "bypass", "usual"} {
			cmd := group.Put(exec.Command("nsenter", "--net="+netns.Path, "python3", "-c", shout, way, device, pod, node, "53"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", way, err, out)
			}
		}
		// The cable keeps the order: what came before the usual way has
		// come, or never will.
		said := []string{}
		for !slices.Contains(said, "usual") {
			select {
			case line := <-heard:
				said = append(said, line)
			case <-time.After(10 * time.Second):
				t.Fatalf("%+v: heard %q and no more", mode, said)
			}
		}
		want := []string{"packet", "raw", "bypass", "usual"}
		if strict && stops { // before Linux 6.6: said, and not done
			want = []string{"usual"}
		}
		if !slices.Equal(said, want) {
			t.Errorf("%+v: the node heard %q, want %q", mode, said, want)
		}
		// Sent elsewhere on its way out, it reaches nobody.
		elsewhere := serve(t, node, host)
		redirect := exec.Command("nsenter", "--net="+netns.Path, "iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", node,
			"--dport", strconv.Itoa(int(server.addr.Port())+1), "-j", "DNAT", "--to-destination", elsewhere.addr.String())
		if out, err := redirect.CombinedOutput(); err != nil {
			t.Fatalf("iptables: %v\n%s", err, out)
		}
		told := netip.AddrPortFrom(server.addr.Addr(), server.addr.Port()+1)
		got := keeper.do(t, request{Dest: told})
		if reached := len(elsewhere.asked) > 0; reached != (!strict || !stops) {
			t.Errorf("%+v: a connection that is sent elsewhere: %+v, reached somebody: %t", mode, got, reached)
		}
		if got := keeper.do(t, request{Dest: server.addr}); got.Err != "" || got.Peer != server.addr || !strings.HasPrefix(got.Seen, pod) {
			t.Errorf("%+v: a connection through agentd: %+v, want one of %s", mode, got, pod)
		}
	}
}

// listenUDP hands out the lines that come to an address in a namespace.
func listenUDP(t testing.TB, netns *lab.Netns, addr string) <-chan string {
	t.Helper()
	var conn net.PacketConn
	netns.Do(t, func() (err error) {
		conn, err = net.ListenPacket("udp", addr)
		return err
	})
	t.Cleanup(func() { conn.Close() })
	lines := make(chan string, 1000)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			lines <- strings.TrimSpace(string(buf[:n]))
		}
	}()
	return lines
}
