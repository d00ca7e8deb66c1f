package approvals

import (
	"cmp"
	"slices"
)

// Get returns the request with this id.
func (d *Desk) Get(id string) (Request, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.all[id]
	if r == nil {
		return Request{}, false
	}
	return r.view(), true
}

// List returns the requests that are pending, or all that are kept, by when
// they were asked; and the version of the list, for Changed.
func (d *Desk) List(all bool) (list []Request, version uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.all {
		if all || r.State == Pending {
			list = append(list, r.view())
		}
	}
	slices.SortFunc(list, func(a, b Request) int {
		return cmp.Or(a.Asked.Compare(b.Asked), cmp.Compare(a.ID, b.ID))
	})
	return list, d.changes.version
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

func newChanges() changes { return changes{version: 1, next: make(chan struct{})} }

// changed tells that something has changed. The caller holds the lock.
func (d *Desk) changed() {
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
