package control

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerKey is the context key of a connection's Peer.
type peerKey struct{}

// withPeer adds what the kernel says about the other end of c to ctx. If it
// says nothing, nothing is added, and the requests are refused.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	peer, err := peerOf(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer)
}

// peerOf returns the credentials the other end of c had when it connected.
func peerOf(c net.Conn) (Peer, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("%T has no peer credentials", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return Peer{}, e
	}
	if err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	peer := Peer{PID: int(cred.Pid), UID: cred.Uid, GID: cred.Gid}
	peer.of = processOf(raw, cred)
	return peer, nil
}
