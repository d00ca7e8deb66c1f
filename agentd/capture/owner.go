package capture

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrForeignNetwork says that a network namespace is of a user namespace that is
// not agentd's own.
var ErrForeignNetwork = errors.New("the connection comes from a network namespace that the workload may have made itself, in which it can be any server")

// OwnNetwork returns an error unless the network that conn comes from, and
// which agentd dials from, belongs to agentd's own user namespace: whoever may
// make user namespaces can make networks in theirs, and give any address there
// to a server of his own. It fails closed: what cannot be told is an error.
func (c *Capture) OwnNetwork(conn Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.listeners[conn.Peer.NetNS]
	if l == nil {
		return errors.New("its network namespace is gone")
	}
	owner, err := unix.IoctlRetInt(int(l.netns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return fmt.Errorf("ask whose its network namespace is: %w", err)
	}
	defer unix.Close(owner)
	var theirs, ours unix.Stat_t
	if err := unix.Fstat(owner, &theirs); err != nil {
		return fmt.Errorf("ask whose its network namespace is: %w", err)
	}
	if err := unix.Stat("/proc/self/ns/user", &ours); err != nil {
		return &os.PathError{Op: "stat", Path: "/proc/self/ns/user", Err: err}
	}
	if theirs.Dev != ours.Dev || theirs.Ino != ours.Ino {
		return ErrForeignNetwork
	}
	return nil
}
