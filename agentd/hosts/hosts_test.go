package hosts_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/hosts"
	"agentd.dev/agentd/internal/lab"
)

func start(t *testing.T, d *lab.DNS, names ...string) *hosts.Hosts {
	t.Helper()
	h := hosts.New(hosts.ResolverAt(d.Addr.String()), names)
	t.Cleanup(h.Close)
	h.Await(soon(t))
	return h
}

// soon is a context for what takes no time.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// has fails the test unless name has exactly these of a few addresses.
func has(t *testing.T, h *hosts.Hosts, name string, want ...string) {
	t.Helper()
	wanted := map[string]bool{}
	for _, a := range want {
		wanted[a] = true
	}
	for _, a := range []string{"10.0.0.1", "10.0.0.2", "fd00::1"} {
		if got := h.Has(name, netip.MustParseAddr(a)); got != wanted[a] {
			t.Errorf("%s has %s: got %t, want %t", name, a, got, wanted[a])
		}
	}
}

func TestAHostHasTheAddressesThatDNSSays(t *testing.T) {
	d := lab.StartDNS(t, "host-record=a.x.internal,10.0.0.1,fd00::1", "cname=alias.x.internal,a.x.internal", "host-record=b.x.internal,10.0.0.2")
	h := start(t, d, "a.x.internal", "alias.x.internal", "none.x.internal")
	has(t, h, "a.x.internal", "10.0.0.1", "fd00::1")
	has(t, h, "alias.x.internal", "10.0.0.1", "fd00::1")
	has(t, h, "none.x.internal")
	has(t, h, "b.x.internal") // which nobody configured
	if all, err := h.Addresses("a.x.internal"); fmt.Sprint(all) != "[10.0.0.1 fd00::1]" || err != nil {
		t.Errorf("addresses are %v, %v", all, err)
	}
	if all, err := h.Addresses("none.x.internal"); len(all) != 0 || err == nil {
		t.Errorf("addresses of a host that does not exist are %v, %v, want why", all, err)
	}
}

func TestAPatternHasWhatWasAskedForAndIsThere(t *testing.T) {
	d := lab.StartDNS(t, "host-record=a.x.internal,10.0.0.1", "host-record=b.a.x.internal,10.0.0.2", "host-record=other.internal,10.0.0.2")
	h := start(t, d, "*.x.internal")
	has(t, h, "*.x.internal")
	for _, asked := range []string{"", "other.internal", "b.a.x.internal", "x.internal", "none.x.internal", "evil.example"} {
		h.Again(soon(t), "*.x.internal", asked)
		has(t, h, "*.x.internal")
	}
	h.Again(soon(t), "*.x.internal", "a.x.internal")
	has(t, h, "*.x.internal", "10.0.0.1")
	if all, _ := h.Addresses("*.x.internal"); fmt.Sprint(all) != "[10.0.0.1]" {
		t.Errorf("addresses are %v", all)
	}
}

func TestWhatDNSSaidLastStaysWhileItIsDown(t *testing.T) {
	d := lab.StartDNS(t, "host-record=a.x.internal,10.0.0.1")
	h := start(t, d, "a.x.internal")
	d.Stop()
	h.Again(soon(t), "a.x.internal", "a.x.internal")
	has(t, h, "a.x.internal", "10.0.0.1")
	if _, err := h.Addresses("a.x.internal"); err == nil {
		t.Error("no problem is told while DNS is down")
	}
}

// Those who come at the same time share a lookup, and who asked for the name
// himself never goes without one that began after he came.
func TestManyWhoAskAtOnceShareALookup(t *testing.T) {
	d := lab.StartDNS(t, "host-record=a.x.internal,10.0.0.1")
	h := start(t, d, "a.x.internal")
	d.Set(t, "host-record=a.x.internal,10.0.0.2")
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			h.Again(soon(t), "a.x.internal", "a.x.internal")
			if !h.Has("a.x.internal", netip.MustParseAddr("10.0.0.2")) {
				t.Error("a host that has moved is not found where it is")
			}
		})
	}
	all.Wait()
	has(t, h, "a.x.internal", "10.0.0.1", "10.0.0.2") // where it was, it still is for a while
}

func TestWhoWaitsForDNSHoldsUpNobody(t *testing.T) {
	d := lab.StartDNS(t, "host-record=a.x.internal,10.0.0.1")
	h := start(t, d, "a.x.internal", "b.x.internal")
	d.Stop()
	silent, err := net.ListenPacket("udp", d.Addr.String()) // listens, and does not answer
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan struct{})
	go func() {
		h.Again(ctx, "a.x.internal", "a.x.internal")
		close(waiting)
	}()
	if _, _, err := silent.ReadFrom(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	has(t, h, "a.x.internal", "10.0.0.1")
	h.Again(soon(t), "b.x.internal", "")
	if all, _ := h.Addresses("a.x.internal"); len(all) != 1 {
		t.Errorf("addresses are %v, want one", all)
	}
	select {
	case <-waiting:
		t.Error("who waits for DNS does not wait")
	default:
	}
	cancel()
	<-waiting
}
