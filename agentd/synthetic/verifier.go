package synthetic

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Verifier makes synthetic connections and remembers what came of them. Its
// methods may be called concurrently.
type Verifier struct {
	// Program is what to run as the Caller, with its arguments.
	Program []string
	// Home is the directory of the cgroup the Caller returns to.
	Home string
	// Fresh is how long a verdict is good for.
	Fresh time.Duration
	// Budget is how long verifying many workloads may take at once. Those
	// that are left over keep the verdict they had.
	Budget time.Duration

	pid   atomic.Int64           // of the Caller, 0 while there is none
	nonce atomic.Pointer[string] // what it is to hear now

	turn sync.Mutex // held while there is a Caller

	mu       sync.Mutex // guards verdicts
	verdicts map[uint64]Verdict
}

// A Verdict says whether a connection from inside of a workload came to agentd.
type Verdict struct {
	At  time.Time // zero if none was tried yet
	Err error     // why it did not, nil if it did
}

// A Subject is a workload to verify.
type Subject struct {
	ID     uint64  // of its cgroup
	Places []Place // one for each of its network namespaces
}

// Last returns what was found out about a workload the last time.
func (v *Verifier) Last(id uint64) Verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.verdicts[id]
}

// Verify brings the verdicts on the subjects up to date, and forgets all
// others. It observes only: an error in between is a workload's verdict.
func (v *Verifier) Verify(ctx context.Context, subjects []Subject) {
	v.turn.Lock()
	defer v.turn.Unlock()
	var due []Subject
	v.mu.Lock()
	kept := map[uint64]Verdict{}
	for _, s := range subjects {
		last, ok := v.verdicts[s.ID]
		if ok {
			kept[s.ID] = last
		}
		if len(s.Places) > 0 && time.Since(last.At) >= v.Fresh {
			due = append(due, s)
		}
	}
	v.verdicts = kept
	v.mu.Unlock()
	if len(due) == 0 {
		return
	}
	// Those that have waited longest come first, should there be no time for
	// all.
	slices.SortStableFunc(due, func(a, b Subject) int { return kept[a.ID].At.Compare(kept[b.ID].At) })
	ctx, cancel := context.WithTimeout(ctx, v.Budget)
	defer cancel()
	if err := v.verify(ctx, due); err != nil && ctx.Err() == nil {
		for _, s := range due {
			if v.Last(s.ID) == kept[s.ID] {
				v.note(s.ID, fmt.Errorf("make a connection from inside: %w", err))
			}
		}
	}
}

// verify starts a Caller and sends it around.
func (v *Verifier) verify(ctx context.Context, due []Subject) (err error) {
	cmd := exec.CommandContext(ctx, v.Program[0], v.Program[1:]...)
	cmd.Env = []string{"GOMAXPROCS=1"} // it moves faster
	cmd.WaitDelay = Patience
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	v.pid.Store(int64(cmd.Process.Pid))
	defer func() {
		v.pid.Store(0)
		err = errors.Join(err, in.Close(), cmd.Wait())
	}()
	ask, hear := json.NewEncoder(in), json.NewDecoder(out)
	for _, s := range due {
		begun := time.Now()
		failed, err := v.visit(s, ask, hear)
		if ctx.Err() != nil {
			if time.Since(begun) > Patience { // else it is not to blame for the time the others took
				v.note(s.ID, errors.New("a connection from inside takes too long"))
			}
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		v.note(s.ID, failed)
	}
	// Back home, so that no cgroup is kept by a process that is ending.
	_, err = v.ask(Place{Cgroup: v.Home}, ask, hear)
	return err
}

// visit has the Caller connect from the places of s. The first error is about
// s, the second about the Caller.
func (v *Verifier) visit(s Subject, ask *json.Encoder, hear *json.Decoder) (failed, err error) {
	for _, p := range s.Places {
		want := rand.Text()
		v.nonce.Store(&want)
		c, err := v.ask(p, ask, hear)
		if err != nil {
			return nil, err
		}
		if c.Err != "" {
			return errors.New(c.Err), nil
		}
		for _, got := range c.Word {
			if got != want && got != noIPv6 {
				return errors.New("somebody else answered a connection from inside"), nil
			}
		}
	}
	return nil, nil
}

func (v *Verifier) ask(p Place, ask *json.Encoder, hear *json.Decoder) (c call, err error) {
	if err := ask.Encode(p); err != nil {
		return c, err
	}
	err = hear.Decode(&c)
	return c, err
}

func (v *Verifier) note(id uint64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.verdicts[id] = Verdict{At: time.Now(), Err: err}
}

// Answer answers a connection if the Caller has made it, and reports whether
// it did; then the connection is closed. pid is who connected, as the kernel
// says: it cannot be anyone else's, since the Caller has not been waited for.
func (v *Verifier) Answer(fd int, pid int, dest netip.AddrPort) bool {
	if pid == 0 || int64(pid) != v.pid.Load() || !slices.Contains(Addresses[:], dest) {
		return false
	}
	f := os.NewFile(uintptr(fd), "synthetic")
	defer f.Close()
	if nonce := v.nonce.Load(); nonce != nil {
		_, _ = io.WriteString(f, *nonce) // the Caller says what came of it
	}
	return true
}
