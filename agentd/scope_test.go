package agentd_test

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// The record of a session opens with what agentd saw of it. That TLS which ends
// in agentd is intercepted, TestAnUpgradeCutsNoSessionOverTLS shows.
func TestASessionOpensWithWhatIsSeenOfIt(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	foreign := answering(t)
	a := lab.StartAgentd(t, lab.Setup{Config: fmt.Sprintf(`unlisted: observe
record: {results: 4KiB}
targets:
  - {name: orders, address: %q, protocol: postgres, default: allow}
`, server.Addr)})
	says := func(addr, bytes string) {
		host, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command("bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%s; printf '%s' >&3; cat <&3", host, port, bytes))
		if out, err := a.Captured(t, cmd).CombinedOutput(); err != nil || string(out) != "heard" {
			t.Fatalf("%s: %v: got %q, want it to be heard", bytes, err, out)
		}
	}
	output(t, a.Captured(t, psql(server, "select 1;")))
	says(foreign, `hello, who is there?\n`)
	says(foreign, `\x16\x03\x01\x00\x05hello`)
	a.Process.Stop(syscall.SIGTERM)
	var got []string
	for _, s := range summariesOf(t, a) {
		rest := "all"
		if len(s.NotCaptured) == 1 && strings.HasPrefix(s.NotCaptured[0], "everything") {
			rest = "nothing"
		}
		got = append(got, fmt.Sprintf("%s %s, results %d, %s", s.Target, s.Scope, s.Results, rest))
	}
	want := []string{
		"orders plaintext, results 4096, all", "unlisted unknown protocol, results 0, nothing",
		"unlisted passed through, results 0, nothing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// answering returns the address of a server that says that it has heard
// something, and hangs up.
func answering(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(conn, make([]byte, 10)); err == nil {
				_, _ = io.WriteString(conn, "heard")
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.CloseWrite()
				}
				_, _ = io.Copy(io.Discard, conn)
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}
