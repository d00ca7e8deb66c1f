// Package handover is how one agentd reaches another on the same node: a unix
// socket that only they may use, over which messages in JSON go with
// descriptors beside them. What is said there is the daemon's business.
package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	maxMessage = 16 << 20 // bytes
	maxFiles   = 16       // descriptors of one message; the kernel passes on at most 253
)

// ErrNobody says that no agentd listens there.
var ErrNobody = errors.New("no agentd is there")

// A Conn is a connection between two agentds. It is used by one goroutine at a
// time.
type Conn struct {
	*net.UnixConn
	PID int // of the other, 0 if it is not visible here
}

// Dial connects to the agentd that listens on path. The error matches ErrNobody
// if there is none.
func Dial(path string) (*Conn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %v", ErrNobody, err)
	}
	if err != nil {
		return nil, err
	}
	return check(c)
}

// Send sends v with the descriptors given, which stay the caller's.
func (c *Conn) Send(v any, fds ...int) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	message := append(binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text...)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	n, _, err := c.WriteMsgUnix(message, rights, nil)
	if err == nil && n < len(message) {
		_, err = c.Write(message[n:])
	}
	return err
}

// Receive reads the next message into v and returns its descriptors, which are
// the caller's. They come with the first byte of it.
func (c *Conn) Receive(v any) ([]*os.File, error) {
	var head [4]byte
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oob, _, _, err := c.ReadMsgUnix(head[:], rights)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	files, err := received(rights[:oob])
	if err == nil {
		err = c.body(head[:], n, v)
	}
	if err != nil {
		Close(files...)
		return nil, err
	}
	return files, nil
}

// body reads what follows the first n bytes of head.
func (c *Conn) body(head []byte, n int, v any) error {
	if _, err := io.ReadFull(c, head[n:]); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint32(head)
	if length > maxMessage {
		return fmt.Errorf("a message of %d bytes", length)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(c, text); err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// received returns the descriptors of a control message.
func received(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // something else that was asked for by nobody
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files, nil
}

// FD returns the descriptor of something open, -1 if it is closed. Other than
// the method of that name it leaves a socket non-blocking.
func FD(of syscall.Conn) int {
	raw, err := of.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	if err := raw.Control(func(open uintptr) { fd = int(open) }); err != nil {
		return -1
	}
	return fd
}

// Close closes files; nil ones are none.
func Close(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// check returns c as a Conn, or closes it if the other end is not root's or
// ours: it would be given everything that we have.
func check(c *net.UnixConn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	if e := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		err = e
	}
	if err == nil && peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		err = fmt.Errorf("the other end is of user %d, and must be root's", peer.Uid)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Conn{UnixConn: c, PID: int(peer.Pid)}, nil
}
