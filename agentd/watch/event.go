package watch

import (
	"encoding/binary"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// matter reports whether some of the events in buf change what a reader finds,
// and forgets the folders that are gone.
func (w *Watch) matter(buf []byte) bool {
	found := false
	for len(buf) >= unix.SizeofInotifyEvent {
		// inotify(7): wd, mask, cookie, length of the name, name.
		wd := int(int32(binary.NativeEndian.Uint32(buf)))
		mask := binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		if end > len(buf) {
			return true // cannot be: look, rather than trust it
		}
		name := unix.ByteSliceToString(buf[unix.SizeofInotifyEvent:end])
		buf = buf[end:]
		switch {
		case mask&unix.IN_IGNORED != 0:
			w.forget(wd)
		case mask&unix.IN_CREATE != 0 && w.unwritten(wd, name):
		default:
			found = true
		}
	}
	return found
}

// forget forgets a folder that the kernel watches no more.
func (w *Watch) forget(wd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if folder, ok := w.names[wd]; ok {
		delete(w.names, wd)
		if w.folders[folder] == wd {
			delete(w.folders, folder)
		}
	}
}

// unwritten reports whether what was made is a file that is being written:
// the end of that will be told.
func (w *Watch) unwritten(wd int, name string) bool {
	w.mu.Lock()
	folder := w.names[wd]
	w.mu.Unlock()
	var stat unix.Stat_t
	err := unix.Lstat(filepath.Join(folder, name), &stat)
	return err == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG && stat.Nlink == 1
}
