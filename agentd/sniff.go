package agentd

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/decoders/opaque"
	"agentd.dev/policy"
)

// sniffSize is how many first bytes are looked at.
const sniffSize = 512

// sniff tells a connection's protocol, and what agentd will see of it, by the
// first bytes of its client, which stay unread. A client that says nothing, or
// nothing known, is opaque.
func sniff(ctx context.Context, fd int) (decoders.Protocol, policy.Scope) {
	head := make([]byte, sniffSize)
	deadline := time.Now().Add(sniffTimeout)
	for seen := 0; ; {
		n, err := peek(ctx, fd, head, seen, deadline)
		if err != nil || n <= seen {
			return opaque.Protocol, policy.UnknownKind
		}
		seen = n
		maybe := false
		for _, p := range all.Protocols {
			switch p.Sniff(decoders.FromClient, head[:n]) {
			case decoders.Yes:
				return p, policy.Plaintext
			case decoders.Maybe:
				maybe = true
			}
		}
		switch {
		case maybe && n < len(head):
		case beginsTLS(head[:n]):
			return opaque.Protocol, policy.PassedOn
		default:
			return opaque.Protocol, policy.UnknownKind
		}
	}
}

// beginsTLS reports whether the first bytes are those of a handshake of TLS: a
// record of that type, and the version that all of them have.
func beginsTLS(head []byte) bool { return len(head) > 1 && head[0] == 22 && head[1] == 3 }

// peek waits until more than seen bytes can be read from fd, and copies them
// to buf without taking them.
func peek(ctx context.Context, fd int, buf []byte, seen int, deadline time.Time) (n int, err error) {
	// A duplicate goes to Go's poller, so that waiting holds no thread and
	// fd itself stays the loop's alone.
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	f := os.NewFile(uintptr(dup), "sniffed socket")
	defer f.Close()
	if err := f.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	waitErr := raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK)
		return err != unix.EAGAIN && (err != nil || n == 0 || n > seen)
	})
	if waitErr != nil {
		return 0, waitErr
	}
	return n, err
}
