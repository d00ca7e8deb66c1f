package approvals

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Find returns the request whose id is, or alone begins with, prefix. The error
// is ErrUnknown (errors.Is).
func (d *Desk) Find(prefix string) (Request, error) {
	prefix = strings.ToLower(prefix)
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.all[prefix]; r != nil {
		return r.view(), nil
	}
	var found *request
	for id, r := range d.all {
		switch {
		case !strings.HasPrefix(id, prefix):
		case found != nil:
			return Request{}, fmt.Errorf("%w: more than one id begins with %q: give more of it", ErrUnknown, prefix)
		default:
			found = r
		}
	}
	if found == nil || prefix == "" {
		return Request{}, fmt.Errorf("%w: no id begins with %q", ErrUnknown, prefix)
	}
	return found.view(), nil
}

// List returns the requests that are pending, or all that are kept, by when
// they were asked; and the version of the list, for Changed.
func (d *Desk) List(all bool) (list []Request, version uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prune()
	for _, r := range d.sorted() {
		if all || r.State == Pending {
			list = append(list, r.view())
		}
	}
	return list, d.changes.version
}

// sorted returns all requests by when they were asked. The caller holds the lock.
func (d *Desk) sorted() []*request {
	return slices.SortedFunc(maps.Values(d.all), func(a, b *request) int {
		return cmp.Or(a.Asked.Compare(b.Asked), cmp.Compare(a.ID, b.ID))
	})
}

// view returns a copy of r. What it shares with r never changes.
func (r *request) view() Request {
	v := r.Request
	v.Votes = append([]Vote{}, r.Votes...)
	return v
}

// changes tells those who watch that something has changed.
type changes struct {
	version uint64
	next    chan struct{} // closed at the next change
}

// newChanges begins with a version that no earlier Desk had, but for clocks that
// are set back.
func newChanges(now time.Time) changes {
	return changes{version: uint64(now.UnixMicro()), next: make(chan struct{})}
}

// happened tells those who listen what has happened to r. The caller holds the
// lock.
func (d *Desk) happened(what string, r *request) {
	d.changed()
	if d.options.Heard != nil {
		d.options.Heard(what, r.view())
	}
}

// changed tells that the list has changed. The caller holds the lock.
func (d *Desk) changed() {
	d.keeper.changed()
	d.changes.version++
	close(d.changes.next)
	d.changes.next = make(chan struct{})
}

// Changed returns a channel that is closed once the list differs from that of
// this version.
func (d *Desk) Changed(since uint64) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if since != d.changes.version {
		done := make(chan struct{})
		close(done)
		return done
	}
	return d.changes.next
}
