package lab

import (
	"bufio"
	"crypto/rand"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A DNS is a name server of a test's own.
type DNS struct {
	Addr netip.AddrPort

	process *Process
}

// StartDNS starts a server that knows the records given, as dnsmasq's options
// write them: "host-record=orders.internal,10.0.0.5", "cname=db.internal,orders.internal",
// "address=/internal/10.0.0.5" for all names of a domain. It listens on the
// port of DNS, at a loopback address of its own.
func StartDNS(t testing.TB, records ...string) *DNS {
	t.Helper()
	var host [4]byte
	rand.Read(host[:])
	host[0], host[3] = 127, host[3]|1 // neither a network's address nor 127.0.0.1
	host[1] |= 1
	d := &DNS{Addr: netip.AddrPortFrom(netip.AddrFrom4(host), 53)}
	d.Set(t, records...)
	return d
}

// Set makes the server know the records given and no others. Afterwards it
// answers by them.
func (d *DNS) Set(t testing.TB, records ...string) {
	t.Helper()
	d.Stop()
	cmd := exec.Command("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts",
		"--bind-interfaces", "--listen-address="+d.Addr.Addr().String(), "--local-ttl=1")
	for _, r := range records {
		cmd.Args = append(cmd.Args, "--"+r)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.process = Start(t, cmd, "", syscall.SIGKILL)
	lines := bufio.NewReader(said)
	for { // it says so once its socket is bound
		line, err := lines.ReadString('\n')
		if strings.Contains(line, "started, version") {
			break
		}
		if err != nil {
			t.Fatalf("start dnsmasq: %s", line)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
}

// Stop stops the server. Set starts it again.
func (d *DNS) Stop() {
	if d.process != nil {
		d.process.Stop(syscall.SIGKILL)
	}
}
