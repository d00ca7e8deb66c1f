// Package control is how people and programs on the node talk to agentd: HTTP
// with JSON over a unix socket, and its metrics. It holds the words both sides
// share (Status, Run ...), the Server for the daemon and the Client for
// agentctl.
//
// Who may connect is decided by the socket's mode, 0660; who did is read from
// the socket's peer credentials and passed on with every act, to be recorded.
// The package decides nothing and keeps nothing: it shows what the daemon
// says, and the sessions that the log folder holds.
package control

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
)

// DefaultSocket is where agentd listens when nothing else is configured.
const DefaultSocket = "/run/agentd/agentd.sock"

// A Reporter says how the daemon is. Its methods are called once per request,
// by several goroutines; what they return is not changed afterwards. Targets
// and CA are those parts of Status which are known at once.
type Reporter interface {
	Status(context.Context) Status
	Targets() []Target
	CA() CA
}

// Runs starts and ends programs that are captured by name.
//
// StartRun makes a cgroup of its own for the program and captures it, with a
// listener in the caller's network namespace, before it returns: whatever is
// started inside is captured from its first instruction. The cgroup stays
// while the caller lives or anything runs in it; when the caller dies without
// EndRun, removing it once it is empty is the daemon's job.
//
// EndRun says that the caller's program is over. What it left running stays
// captured, and the run ends when the last of it does.
//
// An *Error tells the caller what was wrong; any other error is told as it is,
// with status 500.
type Runs interface {
	StartRun(context.Context, RunRequest) (Run, error)
	EndRun(ctx context.Context, id string, by Peer) error
}

// A RunReporter is Runs that can say what came of one.
type RunReporter interface {
	RunStatus(ctx context.Context, id string) (RunStatus, error)
}

// A RunStatus is how a run is at one moment.
type RunStatus struct {
	Run
	// Connections counts those that came to agentd, by where they were going,
	// whatever then became of them.
	Connections map[netip.AddrPort]int `json:"connections"`
}

// A RunRequest asks for a run.
type RunRequest struct {
	Name string `json:"name"`
	By   Peer   `json:"-"` // who asks; its network namespace is the run's
}

// A Run is a place for one program to run captured in.
type Run struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Cgroup string `json:"cgroup"` // the directory, as the host sees it
}

// A Peer is the process at the other end of the socket, as the kernel says.
type Peer struct {
	PID int // 0 if it is not visible in the daemon's pid namespace
	UID uint32
	GID uint32

	of *process // what /proc said of it when it connected
}

func (p Peer) String() string { return fmt.Sprintf("pid %d uid %d gid %d", p.PID, p.UID, p.GID) }

// An Error is an answer that is not what was asked for.
type Error struct {
	Code    int    `json:"-"` // an HTTP status
	Message string `json:"error"`
}

func (e *Error) Error() string { return e.Message }

// notFound says that what was asked for does not exist.
func notFound(format string, args ...any) *Error {
	return &Error{Code: http.StatusNotFound, Message: fmt.Sprintf(format, args...)}
}

// badRequest says that the question makes no sense.
func badRequest(format string, args ...any) *Error {
	return &Error{Code: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}
