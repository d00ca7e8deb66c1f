package agentd

import (
	"fmt"
	"net"
	"os"
)

// notify tells whoever started the daemon that it is up, in systemd's way
// (sd_notify(3)). Without NOTIFY_SOCKET nobody asked.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify %s: %w", path, err)
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}

// watchdog says that the daemon is well, if somebody wants to hear it.
func watchdog() error {
	if os.Getenv("WATCHDOG_USEC") == "" {
		return nil
	}
	return notify("WATCHDOG=1")
}
