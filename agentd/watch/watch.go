// Package watch tells when something in some folders has changed: a file was
// written or replaced, a folder came or went. It does not tell what: whoever
// is told looks for itself, and so misses nothing however much changes at
// once.
//
// It works for ConfigMaps that Kubernetes mounts, which change when a symbolic
// link is replaced, and for cgroups. Files whose changes the kernel does not
// tell, as those on network file systems, are not noticed.
package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// A Watch watches folders. Its methods may be called concurrently.
type Watch struct {
	events  *os.File // inotify
	changed chan struct{}
	done    sync.WaitGroup

	mu      sync.Mutex // guards what is below
	folders map[string]int
	names   map[int]string
}

// events are those that change what a reader finds. That a file was opened
// for writing is none: it is told once it has been written.
const events = unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF

// New returns a Watch that watches nothing yet. Close it.
func New() (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch files: %w (raise fs.inotify.max_user_instances)", err)
	}
	w := &Watch{
		events:  os.NewFile(uintptr(fd), "inotify"),
		changed: make(chan struct{}, 1),
		folders: map[string]int{},
		names:   map[int]string{},
	}
	w.done.Go(w.read)
	return w, nil
}

// Changed has a value when something has changed since the last one was taken.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// Add watches a folder from now on. The error matches fs.ErrNotExist if it is
// not there.
func (w *Watch) Add(folder string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Asked again even if it is watched: it may be another folder by now.
	wd, err := unix.InotifyAddWatch(int(w.events.Fd()), folder, events|unix.IN_ONLYDIR)
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("watch %s: no watches are left: raise fs.inotify.max_user_watches", folder)
	case errors.Is(err, unix.ENOTDIR):
		return &fs.PathError{Op: "watch", Path: folder, Err: fs.ErrNotExist}
	case err != nil:
		return &fs.PathError{Op: "watch", Path: folder, Err: err}
	}
	if old, ok := w.folders[folder]; ok && old != wd && w.names[old] == folder {
		delete(w.names, old)
	}
	w.folders[folder], w.names[wd] = wd, folder
	return nil
}

// AddNearest watches a folder, or the nearest one above it that is there, and
// returns which.
func (w *Watch) AddNearest(folder string) (string, error) {
	for {
		err := w.Add(folder)
		if !errors.Is(err, fs.ErrNotExist) || folder == filepath.Dir(folder) {
			return folder, err
		}
		folder = filepath.Dir(folder)
	}
}

// Keep watches no folders but those that keep reports true for.
func (w *Watch) Keep(keep func(folder string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for folder, wd := range w.folders {
		if keep(folder) {
			continue
		}
		delete(w.folders, folder)
		if w.names[wd] == folder {
			delete(w.names, wd)
			_, _ = unix.InotifyRmWatch(int(w.events.Fd()), uint32(wd)) // it may have gone with its folder
		}
	}
}

// Close ends the watch.
func (w *Watch) Close() error {
	err := w.events.Close()
	w.done.Wait()
	return err
}

// read reads what the kernel tells until Close.
func (w *Watch) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.events.Read(buf)
		if err != nil {
			return
		}
		if !w.matter(buf[:n]) {
			continue
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}
