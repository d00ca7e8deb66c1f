package callback

import (
	"net"
	"net/netip"
	"sync"
)

// A bounded listener has so many connections at once, and so many from one
// address: those beyond are closed at once, so that whoever opens many keeps
// nobody else out.
type bounded struct {
	net.Listener
	most, ofOne int

	mu   sync.Mutex // guards what follows
	all  int
	from map[netip.Addr]int
}

func newBounded(l net.Listener, most, ofOne int) *bounded {
	return &bounded{Listener: l, most: most, ofOne: ofOne, from: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := source(conn.RemoteAddr().String())
		if b.enter(from) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { b.left(from) })}, nil
		}
		conn.Close()
	}
}

func (b *bounded) enter(from netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= b.most || b.from[from] >= b.ofOne {
		return false
	}
	b.all++
	b.from[from]++
	return true
}

func (b *bounded) left(from netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.from[from]--; b.from[from] == 0 {
		delete(b.from, from)
	}
}

// A counted connection tells when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// source is what counts as one address: of IPv6 the /64, which one machine has
// all of.
func source(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}
