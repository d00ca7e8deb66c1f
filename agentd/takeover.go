package agentd

import (
	"errors"
	"fmt"
	"os"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/handover"
)

// What two agentds say to each other, docs/decisions/0011-upgrade.md:
//
//	new -> old  hello: take over
//	old -> new  welcome, or why not
//	new -> old  ready              nothing has changed so far
//	old -> new  listener ... run ... estate
//	new -> old  took               from here on the new one is agentd
//
// Until "took" the end of the connection, for whatever reason, means that the
// old one goes on. A hello to record is followed by what a recorder.Remote sends.

// version is that of the messages. Another one is refused.
const messagesVersion = 1

const (
	wantTakeover = "take over"
	wantRecord   = "record"
)

type hello struct {
	Messages int
	Want     string
	Version  string
	Sessions []string `json:",omitempty"` // to be recorded
}

// A welcome is what the running agentd says of itself; Refusal is why it
// cannot be taken over.
type welcome struct {
	Refusal string
	PID     int
	Version string
	Node    string
	State   string
	Root    string
	Pins    string
	Shapes  map[string]string // of the maps
}

// A word is any message after the welcome.
type word struct {
	Ready, Took bool
	Listener    *capture.Inherited `json:",omitempty"` // files: see there
	Run         *inheritedRun      `json:",omitempty"` // file: a pidfd of the caller, if there is one
	Estate      *estate            `json:",omitempty"` // files: see estateFiles
}

// An estate is what is left after the listeners and runs.
type estate struct {
	Capture   *capture.Inheritance
	Metrics   string          // the address whose socket comes last, "" for none
	Processes []processesLeft // that have sessions and will send their records
}

type processesLeft struct {
	PID      int
	Sessions []string
}

// estateFiles is how many files come with an estate, without that for metrics:
// the folder of the pins, the lock of the log, the control socket, its lock,
// and the socket for other agentds.
const estateFiles = 5

// helloWithin is how long the other side may take with an answer that costs it
// nothing.
const helloWithin = 5 * time.Second

// doorsPath is the socket beside the control socket that agentds meet at.
func (c *Config) doorsPath() string { return c.Socket + ".handover" }

// greet sends a hello on conn and returns the welcome.
func greet(conn *handover.Conn, h hello) (w welcome, err error) {
	h.Messages, h.Version = messagesVersion, Version
	if err := conn.SetDeadline(time.Now().Add(helloWithin)); err != nil {
		return w, err
	}
	if err := conn.Send(h); err != nil {
		return w, err
	}
	if _, err := conn.Receive(&w); err != nil {
		return w, err
	}
	if w.Refusal != "" {
		return w, errors.New(w.Refusal)
	}
	return w, conn.SetDeadline(time.Time{})
}

// differs returns why an agentd with this configuration cannot go on where the
// one that said w is.
func (c *Config) differs(w *welcome) error {
	for _, p := range []struct{ key, theirs, ours string }{
		{"node", w.Node, c.Node},
		{"state", w.State, c.State},
		{"capture.root", w.Root, c.Capture.Root},
		{"capture.pins", w.Pins, c.Capture.Pins},
	} {
		if p.theirs != p.ours {
			return fmt.Errorf("its %s is %q and ours %q: an upgrade cannot change that, stop it first", p.key, p.theirs, p.ours)
		}
	}
	if c.Capture.Pins == "" {
		return errors.New("capture.pins is empty, so that it cannot be taken over: stop it first")
	}
	shapes, err := capture.Shapes()
	if err != nil {
		return err
	}
	for name, theirs := range w.Shapes {
		if ours, ok := shapes[name]; ok && ours != theirs {
			return fmt.Errorf("version %s keeps %s in another form than %s does: stop it first", w.Version, name, Version)
		}
	}
	return nil
}

// renamed closes f and returns its file by another name.
func renamed(f *os.File, name string) (*os.File, error) {
	defer f.Close()
	raw := handover.FD(f)
	fd, err := dupFD(raw)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
