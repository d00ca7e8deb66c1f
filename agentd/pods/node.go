package pods

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"agentd.dev/agentd/cgroup"
)

const (
	patience = 2 * time.Second        // for an answer of the runtime's
	soon     = 100 * time.Millisecond // until a cgroup that the runtime did not know is asked about again
	late     = 5 * time.Second        // the same, once it has been asked about often
	settled  = time.Minute            // after which a cgroup that the runtime does not know is no container of its
	sweeping = 30 * time.Second       // between two looks at whether all that is known is still there
	asking   = 8                      // questions to the runtime at a time
)

// Options say what a Node looks at.
type Options struct {
	Runtime string       // CRI socket of the container runtime; "" for none
	Root    string       // directory of the cgroup below which containers are; "" for the whole hierarchy
	Source  Source       // knows more of pods; nil for none
	Log     *slog.Logger // nil for none
}

// A Node knows the containers of this node. Its methods may be called by
// several goroutines at once.
type Node struct {
	hierarchy string
	runtime   *runtime // nil for none
	source    Source   // nil for none
	log       *slog.Logger
	changes   chan struct{}
	stop      context.CancelFunc
	ctx       context.Context // ends with stop; lives as long as the Node
	wg        sync.WaitGroup
	questions singleflight.Group
	slots     chan struct{} // taken by whoever asks the runtime

	mu      sync.Mutex // guards what is below
	known   map[string]Container
	pending map[string]attempt // paths of cgroups that may be a container's, not resolved
	version string
	problem string
}

// An attempt is one to find out which container a cgroup is of.
type attempt struct {
	place
	since time.Time
	wait  time.Duration // before the next
	next  time.Time
}

// Open starts to follow the containers of this node, until Close.
func Open(o Options) (*Node, error) {
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		return nil, err
	}
	if o.Root == "" {
		o.Root = hierarchy
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		hierarchy: hierarchy,
		source:    o.Source,
		log:       o.Log,
		changes:   make(chan struct{}, 1),
		slots:     make(chan struct{}, asking),
		known:     map[string]Container{},
		pending:   map[string]attempt{},
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	if o.Runtime != "" {
		if n.runtime, err = dial(o.Runtime); err != nil {
			n.Close()
			return nil, err
		}
	}
	events, err := cgroup.Watch(n.ctx, o.Root)
	if err != nil {
		n.Close()
		return nil, err
	}
	n.wg.Go(func() { n.follow(events) })
	return n, nil
}

// Close ends what Open started. Nothing may be asked of the Node any more.
func (n *Node) Close() {
	n.stop()
	n.wg.Wait()
	if n.runtime != nil {
		n.runtime.conn.Close()
	}
}

// follow keeps what is known true.
func (n *Node) follow(events <-chan cgroup.Event) {
	retry := time.NewTicker(soon)
	defer retry.Stop()
	sweep := time.NewTicker(sweeping)
	defer sweep.Stop()
	var enriched <-chan struct{}
	if n.source != nil {
		enriched = n.source.Changes()
	}
	n.wg.Go(n.check)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			n.handle(e)
		case <-enriched:
			n.changed()
		case now := <-retry.C:
			n.retry(now)
		case <-sweep.C:
			n.sweep()
			n.wg.Go(n.check)
		}
	}
}

// handle takes one event of the cgroup tree.
func (n *Node) handle(e cgroup.Event) {
	path := strings.TrimPrefix(e.Dir, n.hierarchy)
	p, ok := locate(path)
	if !ok || p.path != path {
		return // not a container's own
	}
	if e.Gone {
		n.forget(path)
		return
	}
	now := time.Now()
	n.mu.Lock()
	n.pending[path] = attempt{place: p, since: now, wait: soon, next: now.Add(soon + patience)}
	n.mu.Unlock()
	n.wg.Go(func() { _, _ = n.resolve(n.ctx, p) })
}

// retry asks again about what is pending and due.
func (n *Node) retry(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for path, a := range n.pending {
		if now.Before(a.next) {
			continue
		}
		a.next = now.Add(a.wait + patience)
		n.pending[path] = a
		n.wg.Go(func() { _, _ = n.resolve(n.ctx, a.place) })
	}
}

// check finds out which runtime there is, and whether it answers.
func (n *Node) check() {
	if n.runtime == nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, patience)
	defer cancel()
	version, err := n.runtime.version(ctx)
	n.answered(err)
	if err == nil {
		n.mu.Lock()
		n.version = version
		n.mu.Unlock()
	}
}

// sweep forgets containers whose cgroups went without a word, as those of
// which Lookup learnt outside of what is watched.
func (n *Node) sweep() {
	n.mu.Lock()
	var paths []string
	for path := range n.known {
		paths = append(paths, path)
	}
	for path := range n.pending {
		paths = append(paths, path)
	}
	n.mu.Unlock()
	for _, path := range paths {
		if !n.exists(path) {
			n.forget(path)
		}
	}
}

// resolve finds out which container a cgroup is of, once for all who ask at
// the same time.
func (n *Node) resolve(ctx context.Context, p place) (Container, error) {
	type answer struct {
		Container
		error
	}
	answers := make(chan answer, 1)
	n.wg.Go(func() {
		v, err, _ := n.questions.Do(p.path, func() (any, error) {
			c, err := n.ask(p)
			if err == nil {
				n.learn(p.path, c)
			} else {
				n.postpone(p.path, err)
			}
			return c, err
		})
		answers <- answer{v.(Container), err}
	})
	select {
	case a := <-answers:
		if a.error != nil {
			return Container{}, a.error
		}
		n.enrich(&a.Container)
		return a.Container, nil
	case <-ctx.Done():
		return Container{}, ctx.Err()
	}
}

// ask asks the runtime about a place, for as long as its patience lasts.
func (n *Node) ask(p place) (Container, error) {
	if p.plain {
		return Container{ID: p.id}, nil
	}
	if n.runtime == nil {
		return Container{}, errUnknown
	}
	ctx, cancel := context.WithTimeout(n.ctx, patience)
	defer cancel()
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return Container{}, ctx.Err()
	}
	c, path, err := n.runtime.container(ctx, p.id)
	if err == nil && path != p.path {
		// Someone else's name for a cgroup of its own.
		n.log.Warn("a cgroup has the name of a container that is elsewhere", "cgroup", p.path, "container", path)
		err = errUnknown
	}
	n.answered(err)
	return c, err
}

// answered notes whether the runtime answers.
func (n *Node) answered(err error) {
	problem := ""
	switch {
	case n.ctx.Err() != nil:
		return
	case err != nil && !errors.Is(err, errUnknown):
		problem = fmt.Sprintf("ask the container runtime: %v", err)
	}
	n.mu.Lock()
	before := n.problem
	n.problem = problem
	if problem == "" && before != "" {
		for path, a := range n.pending { // it is back: ask again at once
			a.wait, a.next = soon, time.Time{}
			n.pending[path] = a
		}
	}
	n.mu.Unlock()
	switch {
	case problem != "" && before == "":
		n.log.Warn("containers are unknown", "problem", problem)
	case problem == "" && before != "":
		n.log.Info("the container runtime answers again")
	}
}

// learn keeps which container a cgroup is of, for as long as the cgroup is
// there.
func (n *Node) learn(path string, c Container) {
	n.mu.Lock()
	delete(n.pending, path)
	_, before := n.known[path]
	n.known[path] = c
	n.mu.Unlock()
	if !n.exists(path) {
		// Its end may have been reported before it was known.
		n.forget(path)
		return
	}
	if !before {
		n.changed()
	}
}

// postpone sets when a cgroup that nobody knew is asked about again, if it is
// one that is followed. One that the runtime does not know for long is no
// container of its: then only Lookup asks again.
func (n *Node) postpone(path string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.pending[path]
	switch {
	case !ok:
	case errors.Is(err, errUnknown) && time.Since(a.since) > settled:
		delete(n.pending, path)
	default:
		a.next = time.Now().Add(a.wait)
		a.wait = min(2*a.wait, late)
		n.pending[path] = a
	}
}

func (n *Node) forget(path string) {
	n.mu.Lock()
	_, before := n.known[path]
	delete(n.known, path)
	delete(n.pending, path)
	n.mu.Unlock()
	if before {
		n.changed()
	}
}

// cached returns the container that a cgroup is or is in, if it is known.
func (n *Node) cached(cgroupPath string) (Container, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for end := range len(cgroupPath) + 1 {
		if end < len(cgroupPath) && cgroupPath[end] != '/' {
			continue
		}
		if c, ok := n.known[cgroupPath[:end]]; ok {
			n.enrich(&c)
			return c, true
		}
	}
	return Container{}, false
}

func (n *Node) enrich(c *Container) {
	if n.source != nil && c.Pod.UID != "" {
		n.source.Enrich(&c.Pod)
	}
}

func (n *Node) exists(path string) bool {
	_, err := os.Stat(n.hierarchy + path)
	return !errors.Is(err, fs.ErrNotExist)
}

// changed says so to whoever receives from Changes.
func (n *Node) changed() {
	select {
	case n.changes <- struct{}{}:
	default: // said already
	}
}
