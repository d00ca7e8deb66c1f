package agentd_test

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

// byName starts agentd with one target, at a host, and dns to ask.
func byName(t *testing.T, dns *lab.DNS, host string, server *lab.Server) *lab.Agentd {
	t.Helper()
	return lab.StartAgentd(t, lab.Setup{Policy: lawful, Config: fmt.Sprintf(
		"resolver: %s\ntargets: [{name: orders, host: %q, protocol: postgres, default: allow}]\n", dns.Addr, host+":"+portOf(server))})
}

// last is the latest session.
func last(t *testing.T, a *lab.Agentd) listed {
	t.Helper()
	list := sessions(t, a)
	if len(list) == 0 {
		t.Fatal("there is no session")
	}
	return list[len(list)-1]
}

// served fails the test unless cmd, captured, is served as a session to orders.
func served(t *testing.T, a *lab.Agentd, cmd *exec.Cmd) {
	t.Helper()
	if out, err := a.Captured(t, cmd).CombinedOutput(); err != nil || string(out) != "served\n" {
		t.Errorf("psql ended with %v and printed %q", err, out)
	}
	if got := last(t, a); got.Target != "orders" {
		t.Errorf("the session is %+v, want one to orders", got)
	}
}

// turnedAway fails the test unless cmd, captured, is refused because no target
// has the address.
func turnedAway(t *testing.T, a *lab.Agentd, cmd *exec.Cmd) {
	t.Helper()
	if out, err := a.Captured(t, cmd).CombinedOutput(); err == nil {
		t.Errorf("psql printed %q, want it refused", out)
	}
	if got := last(t, a); got.Target != "unlisted" || !strings.Contains(got.Outcome, "no target has this address") {
		t.Errorf("the session is %+v, want it refused because no target has the address", got)
	}
}

const question = "select 'served';"

func TestATargetIsWhereDNSSaysItsHostIs(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.ListenOn("127.0.2.1", "127.0.2.2"))
	dns := lab.StartDNS(t, "host-record=orders.internal,127.0.2.1")
	agentd := byName(t, dns, "orders.internal", server)

	served(t, agentd, asking(t, dns, psqlAt("orders.internal", server, question)))
	if got := last(t, agentd); got.Host != "orders.internal" {
		t.Errorf("the session shows the name %q", got.Host)
	}
	served(t, agentd, psqlAt("127.0.2.1", server, question)) // an address is where it is, whoever asked
	turnedAway(t, agentd, psqlAt("127.0.2.2", server, question))

	// It moves, and the first that connects there is served.
	dns.Set(t, "host-record=orders.internal,127.0.2.2")
	served(t, agentd, asking(t, dns, psqlAt("orders.internal", server, question)))

	// DNS is down: what it said last stays, and nothing else is let in.
	dns.Stop()
	served(t, agentd, psqlAt("127.0.2.2", server, question))
	var targets []control.Target
	for deadline := time.Now().Add(20 * time.Second); len(targets) == 0 || targets[0].Problem == ""; { // it asks once a second
		turnedAway(t, agentd, psqlAt("127.0.2.3", server, question))
		reported(t, agentd, &targets, "targets")
		if time.Now().After(deadline) {
			t.Fatalf("targets say %+v, want that DNS does not answer", targets)
		}
	}
	served(t, agentd, psqlAt("127.0.2.2", server, question))
	if got := targets[0]; got.Host != "orders.internal" || !slices.Contains(got.Addresses, "127.0.2.2:"+portOf(server)) {
		t.Errorf("targets say %+v, want the host and its address", got)
	}
}

// The workload has a name server of its own, which says what it likes.
func TestALyingDNSMakesNoTarget(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.ListenOn("127.0.3.1", "127.0.3.2"))
	honest := lab.StartDNS(t, "host-record=orders.internal,127.0.3.1", "host-record=a.db.internal,127.0.3.1")
	lying := lab.StartDNS(t, "host-record=orders.internal,127.0.3.2", "host-record=a.db.internal,127.0.3.2", "host-record=b.db.internal,127.0.3.2",
		"host-record=evil.example,127.0.3.1")
	for _, tt := range []struct {
		host string
		asks []string // names of 127.0.3.2, so says the liar
	}{
		{"orders.internal", []string{"orders.internal"}},
		{"*.db.internal", []string{"a.db.internal", "b.db.internal"}},
	} {
		t.Run(tt.host, func(t *testing.T) {
			agentd := byName(t, honest, tt.host, server)
			if tt.host != "orders.internal" { // nobody has asked for a name there yet
				turnedAway(t, agentd, asking(t, lying, psqlAt("evil.example", server, question)))
			}
			for _, name := range tt.asks {
				turnedAway(t, agentd, asking(t, lying, psqlAt(name, server, question)))
				if got := last(t, agentd); got.Host != name {
					t.Errorf("the session shows the name %q, want %q, which was asked for", got.Host, name)
				}
			}
			if tt.host != "orders.internal" {
				served(t, agentd, asking(t, honest, psqlAt("a.db.internal", server, question)))
			}
			// What a target is, it is under any name.
			served(t, agentd, asking(t, lying, psqlAt("evil.example", server, question)))
			if got := last(t, agentd); got.Host != "evil.example" {
				t.Errorf("the session shows the name %q", got.Host)
			}
		})
	}
}

func TestAConnectionThatWaitsForDNSHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.ListenOn("127.0.4.1"))
	dns := lab.StartDNS(t, "host-record=orders.internal,127.0.4.1")
	agentd := byName(t, dns, "orders.internal", server)
	served(t, agentd, asking(t, dns, psqlAt("orders.internal", server, question)))
	dns.Stop()
	// Someone listens there and does not answer.
	silent, err := net.ListenPacket("udp", dns.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	waiting := agentd.Captured(t, psqlAt("127.0.4.2", server, question))
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := silent.ReadFrom(make([]byte, 512)); err != nil { // agentd asks for its sake
		t.Fatal(err)
	}
	if got := output(t, agentd.Captured(t, psqlAt("127.0.4.1", server, question))); got != "served\n" {
		t.Errorf("psql printed %q", got)
	}
	if err := waiting.Wait(); err == nil {
		t.Error("psql connected to where no target is")
	}
}
