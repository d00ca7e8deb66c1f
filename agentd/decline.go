package agentd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/decoders"
)

const (
	declineTimeout = 3 * time.Second // for a client to say the first that it can be answered
	maxDeclined    = 64 << 10        // bytes of that
)

// decline tells the client, in the words of its protocol, that its session
// cannot be recorded. Nothing of it reaches the target and nothing is recorded.
// The descriptor stays the caller's. A client that is gone, that says nothing,
// or that insists on TLS sees a reset, and no words.
func decline(ctx context.Context, fd int, p *decoders.Protocol, why error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	file := os.NewFile(uintptr(own), "client")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_ = conn.SetDeadline(time.Now().Add(declineTimeout))
	if sayNo(conn, p.New(decoders.Want{}), unrecordable(why)) != nil {
		return
	}
	if c, ok := conn.(*net.TCPConn); ok && c.CloseWrite() == nil { // a reset could lose what was said
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxDeclined))
	}
}

// sayNo reads until the decoder asks, and writes its no.
func sayNo(conn net.Conn, d decoders.Decoder, r decoders.Refusal) error {
	var buf []byte
	chunk := make([]byte, 4<<10)
	for len(buf) < maxDeclined {
		n, err := conn.Read(chunk)
		if err != nil {
			return err
		}
		buf = append(buf, chunk[:n]...)
		for len(buf) > 0 {
			step, err := d.Next(decoders.FromClient, buf)
			if err != nil {
				return err
			}
			if step.Op == decoders.More {
				break
			}
			if step.Op == decoders.Ask {
				say := d.Refuse(r).Back
				if len(say) == 0 {
					say = d.Abort(r)
				}
				_, err := conn.Write(say)
				return err
			}
			if _, err := conn.Write(step.Back); err != nil {
				return err
			}
			if step.N <= 0 || step.N > len(buf) {
				return errUnanswered
			}
			buf = buf[step.N:]
		}
	}
	return errUnanswered
}

var errUnanswered = errors.New("the client said nothing that it can be answered")

// unrecordable is what clients are told when a session cannot be recorded.
func unrecordable(why error) decoders.Refusal {
	return decoders.Refusal{
		Rule:   "record",
		Reason: fmt.Sprintf("agentd cannot record this session: %v", why),
		Hint:   "Nothing runs unrecorded. Ask the operator of this node to run `agentctl status`.",
	}
}
