package agentd

import (
	"context"
	"sync"
)

// A group runs the parts of the daemon until one of them fails or their
// context ends; then it ends them all.
type group struct {
	ctx    context.Context         // lives as long as the group, which lives within one call of work
	cancel context.CancelCauseFunc // with the first part's error
	wg     sync.WaitGroup

	once sync.Once
	err  error // of the first part that failed
}

func newGroup(ctx context.Context) *group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &group{ctx: ctx, cancel: cancel}
}

// run starts a part.
func (g *group) run(part func(context.Context) error) {
	g.wg.Go(func() {
		if err := part(g.ctx); err != nil {
			g.once.Do(func() { g.err = err })
			g.cancel(err)
		}
	})
}

// wait returns once all parts have, with the first error.
func (g *group) wait() error {
	g.wg.Wait()
	g.cancel(nil)
	return g.err
}
