package capture_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// holderEnv makes the test binary a holder: it makes connections and keeps
// them, as it is asked on its standard input.
const holderEnv = "CAPTURE_TEST_HOLDER"

// An order is one thing for a holder to do.
type order struct {
	Dial   string // a network: connect to Addr and keep that
	Start  bool   // do not wait until it is connected
	Listen string // a network: listen on Addr
	Accept bool   // take the next connection and keep it
	Speak  int    // ask the server over the connection of this number
	Addr   string
}

// A result is what came of it.
type result struct {
	Err    string
	Number int            // of the connection that is kept
	Local  netip.AddrPort // of that or of the listener
	Heard  string         // what the server answered
}

type holder struct{ *actor[order, result] }

// startHolder starts a holder in a cgroup and a network namespace (nil: ours).
func startHolder(t testing.TB, group *lab.Cgroup, netns *lab.Netns) *holder {
	t.Helper()
	return &holder{startActor[order, result](t, holderEnv, group, netns)}
}

// must is do for what has to work.
func (h *holder) must(t testing.TB, o order) result {
	t.Helper()
	got := h.do(t, o)
	if got.Err != "" {
		t.Fatalf("%+v: %s", o, got.Err)
	}
	return got
}

// holderMain is the holder's side.
func holderMain() {
	orders, results := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var (
		kept     []net.Conn
		listener net.Listener
	)
	for {
		var o order
		if orders.Decode(&o) != nil {
			return
		}
		var got result
		var err error
		keep := func(c net.Conn, e error) {
			if err = e; err == nil {
				got.Number, got.Local = len(kept), netip.MustParseAddrPort(c.LocalAddr().String())
				kept = append(kept, c)
			}
		}
		switch {
		case o.Start:
			go func() { _, _ = net.Dial(o.Dial, o.Addr) }()
		case o.Dial != "":
			keep(net.Dial(o.Dial, o.Addr))
		case o.Listen != "":
			if listener, err = net.Listen(o.Listen, o.Addr); err == nil {
				got.Local = netip.MustParseAddrPort(listener.Addr().String())
			}
		case o.Accept:
			keep(listener.Accept())
		default:
			got.Heard, err = speak(kept[o.Speak])
		}
		if err != nil {
			got.Err = err.Error()
		}
		if results.Encode(got) != nil {
			return
		}
	}
}

func speak(c net.Conn) (string, error) {
	if _, err := c.Write([]byte(question)); err != nil {
		return "", err
	}
	buf := make([]byte, 256)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}
