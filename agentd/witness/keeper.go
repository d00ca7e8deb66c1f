package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"agentd.dev/recorder"
)

const (
	firstPause = time.Second // after the first attempt that came to nothing
	mostPause  = 5 * time.Minute
)

// Options say which log is shown to a witness. All must be set.
type Options struct {
	Folder string        // of the log
	Latest func() []byte // the latest checkpoint of it, nil if there is none
	Kept   *recorder.Witnessed
	Every  time.Duration // how often a witness is asked, also if there is nothing new
	Log    *slog.Logger
}

// A State is what a witness has seen.
type State struct {
	Size     int64     // records under the latest checkpoint that it has cosigned
	At       time.Time // when that was; zero if it has cosigned none since the start
	Failures int64     // attempts that came to nothing
	Problem  string    // of the last attempt, "" if there is none
}

// A Keeper keeps one witness up to date.
type Keeper struct {
	opts   Options
	client client
	pause  time.Duration // after an attempt that came to nothing, the next such

	busy  sync.Mutex // guards trail and seen: held while the witness is asked
	trail *recorder.Trail
	seen  int64 // records that the witness has seen, as far as we know

	mu    sync.Mutex // guards state
	state State
}

// New returns a Keeper for a witness. Run it.
func New(w Witness, opts Options) *Keeper {
	k := &Keeper{opts: opts, client: newClient(w), pause: firstPause, seen: opts.Kept.Last(w.Key)}
	k.state.Size = k.seen
	return k
}

// Name returns the witness's name in the configuration.
func (k *Keeper) Name() string { return k.client.Name }

// State tells what the witness has seen.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Run shows the witness the latest checkpoint, again and again until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	pause := k.pause
	for ctx.Err() == nil {
		rest := k.opts.Every
		if err := k.Show(ctx); err != nil {
			rest = pause/2 + rand.N(pause)
			pause = min(2*pause, mostPause)
		} else {
			pause = k.pause
		}
		timer := time.NewTimer(rest)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Show shows the witness the latest checkpoint once.
func (k *Keeper) Show(ctx context.Context) error {
	k.busy.Lock()
	defer k.busy.Unlock()
	signed := k.opts.Latest()
	if signed == nil {
		return nil
	}
	err := k.show(ctx, signed)
	var conflict conflictError
	if errors.As(err, &conflict) && conflict.size != k.seen { // we did not know: now we do
		k.forget(conflict.size)
		err = k.show(ctx, signed)
	}
	if err != nil && ctx.Err() != nil {
		return err // we ended it
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if k.state.Failures++; k.state.Problem != err.Error() {
			k.opts.Log.Warn("witness", "witness", k.client.Name, "error", err)
		}
		k.state.Problem = err.Error()
		return err
	}
	k.state.Problem, k.state.Size, k.state.At = "", k.seen, time.Now()
	return nil
}

func (k *Keeper) show(ctx context.Context, signed []byte) error {
	size, err := recorder.SizeOf(signed)
	if err != nil {
		return err
	}
	if k.seen > size {
		return fmt.Errorf("it has seen %d records of this log, and there are %d: the log was rolled back, or another node has its name and key", k.seen, size)
	}
	if k.trail == nil {
		if k.trail, err = recorder.NewTrail(k.opts.Folder, k.seen); err != nil {
			return err
		}
	}
	proof, err := k.trail.Proof(signed)
	if err != nil {
		k.forget(k.seen)
		return err
	}
	cosigned, err := k.client.add(ctx, k.trail.From(), proof, signed)
	if err != nil {
		return err
	}
	k.trail.Knows()
	k.seen = size
	if err := k.opts.Kept.Add(cosigned); err != nil {
		return fmt.Errorf("keep what it cosigned: %w", err)
	}
	return nil
}

// forget starts the trail anew, at what the witness has seen.
func (k *Keeper) forget(seen int64) {
	if k.trail != nil {
		k.trail.Close()
	}
	k.trail, k.seen = nil, seen
}

// Close is done with the log, once Run and Show have returned.
func (k *Keeper) Close() {
	k.forget(k.seen)
	k.client.http.Close()
}
