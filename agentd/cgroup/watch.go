package cgroup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// An Event is a cgroup that was made, or removed.
type Event struct {
	Dir  string // its directory
	Gone bool
}

// Watch reports the cgroups below root: first those that are there, then each
// as it is made or removed. A parent is reported before what is in it. One
// that comes and goes at once may be missed.
//
// The channel is closed when ctx ends. Root is to be there until then, and the
// receiver to keep receiving.
func Watch(ctx context.Context, root string) (<-chan Event, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch cgroups: %w", err)
	}
	w := &watcher{
		root:    root,
		queue:   os.NewFile(uintptr(fd), "inotify"),
		dirs:    map[int32]string{},
		watches: map[string]int32{},
		events:  make(chan Event, 64),
		done:    ctx.Done(),
	}
	if err := w.watch(root); err != nil {
		w.queue.Close()
		return nil, fmt.Errorf("watch cgroups: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { w.queue.Close() })
	go func() {
		defer close(w.events)
		defer stop()
		defer w.queue.Close()
		w.run()
	}()
	return w.events, nil
}

// A watcher follows one tree. Everything here is its goroutine's own.
type watcher struct {
	root    string
	queue   *os.File // inotify's
	dirs    map[int32]string
	watches map[string]int32 // the same, the other way round: what was reported, and root
	events  chan Event
	done    <-chan struct{}
}

func (w *watcher) run() {
	w.scan(w.root)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.queue.Read(buf)
		if err != nil {
			return // closed: ctx has ended
		}
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(rest))
			mask := binary.NativeEndian.Uint32(rest[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			name, _, _ := bytes.Cut(rest[unix.SizeofInotifyEvent:end], []byte{0})
			rest = rest[end:]
			w.handle(wd, mask, string(name))
		}
	}
}

// handle takes one event of the kernel's.
func (w *watcher) handle(wd int32, mask uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		w.rescan()
		return
	}
	dir, ok := w.dirs[wd]
	switch {
	case !ok:
		// Of a cgroup that is known to be gone.
	case mask&unix.IN_IGNORED != 0:
		w.gone(dir)
	case mask&unix.IN_ISDIR == 0:
		// A cgroup's files come and go with its controllers.
	case mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		w.made(filepath.Join(dir, name))
	case mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		w.gone(filepath.Join(dir, name))
	}
}

// made reports a cgroup, and those that were made in it before it was watched.
func (w *watcher) made(dir string) {
	if _, known := w.watches[dir]; known {
		return
	}
	if err := w.watch(dir); err != nil {
		return // removed already
	}
	w.report(Event{Dir: dir})
	w.scan(dir)
}

// scan reports what is below a cgroup that is watched.
func (w *watcher) scan(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // removed meanwhile: the kernel says so in its turn
	}
	for _, entry := range entries {
		if entry.IsDir() {
			w.made(filepath.Join(dir, entry.Name()))
		}
	}
}

// gone reports that a cgroup was removed, once. What was in it went before.
func (w *watcher) gone(dir string) {
	wd, known := w.watches[dir]
	if !known || dir == w.root {
		return
	}
	// The name may have been taken again before its watch was.
	if id, err := w.watchID(dir); err == nil && id == wd {
		return
	}
	delete(w.watches, dir)
	delete(w.dirs, wd)
	w.report(Event{Dir: dir, Gone: true})
	w.made(dir)
}

// rescan finds out what was missed when the kernel had to drop events.
func (w *watcher) rescan() {
	known := make([]string, 0, len(w.watches))
	for dir := range w.watches {
		known = append(known, dir)
	}
	slices.Sort(known)
	for _, dir := range slices.Backward(known) { // what is inside goes first
		w.gone(dir)
	}
	for _, dir := range known {
		w.scan(dir)
	}
}

// watch asks the kernel to tell of what happens in dir.
func (w *watcher) watch(dir string) error {
	wd, err := w.watchID(dir)
	if err != nil {
		return err
	}
	w.dirs[wd], w.watches[dir] = dir, wd
	return nil
}

// watchID watches dir and returns the watch's number: the same one for as long
// as it is the same cgroup.
func (w *watcher) watchID(dir string) (int32, error) {
	conn, err := w.queue.SyscallConn()
	if err != nil {
		return 0, err
	}
	wd := -1
	var failed error
	err = conn.Control(func(fd uintptr) {
		wd, failed = unix.InotifyAddWatch(int(fd), dir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW)
	})
	if err := errors.Join(err, failed); err != nil {
		return 0, &fs.PathError{Op: "watch", Path: dir, Err: err}
	}
	return int32(wd), nil
}

func (w *watcher) report(e Event) {
	select {
	case w.events <- e:
	case <-w.done:
	}
}
