package recorder

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// reserveName is a file without content that has space: what is recorded
	// last on a full disk is written where it was.
	reserveName  = "reserve"
	reserveBytes = 4 << 20 // for some ten thousand records of how sessions end
)

// A reserve is space that is given back when the disk is full: for how the
// sessions end that end by that, the gap, and the last checkpoint. What else is
// asked is not recorded then, and does not happen.
//
// Others on the filesystem may take what was given back. The Recorder's mu
// guards it.
type reserve struct {
	path  string
	bytes int64
	kept  bool
}

// keep takes the space, if it is there. Without, recording goes on: it is for
// the end alone.
func (v *reserve) keep() {
	if v.kept || v.bytes <= 0 {
		return
	}
	f, err := os.OpenFile(v.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	v.kept = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, v.bytes) == nil
}

// spend gives the space back.
func (v *reserve) spend() {
	v.kept = false
	os.Remove(v.path) // if there is none, there is nothing to give
}

// noSpace reports whether the reserve may help.
func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// ErrFull is wrapped by what Begin returns when the disk is nearly full.
var ErrFull = errors.New("the disk is nearly full")

// roomToBegin returns an error if too little is free for a session to begin.
// Those that go on may use what is left.
func (r *Recorder) roomToBegin() error {
	space, err := r.Space()
	if err != nil {
		return err
	}
	if space.Free < space.Floor {
		return fmt.Errorf("%w: %d bytes are free where %s is, and %d must stay free: "+
			"make room, or new sessions stay refused", ErrFull, space.Free, r.opts.Dir, space.Floor)
	}
	return nil
}

// roomToSeal returns an error if a segment of that many bytes cannot be written
// anew above the floor: what is free is for what is recorded.
func (r *Recorder) roomToSeal(size int64) error {
	space, err := r.Space()
	if err == nil && space.Free < space.Floor+size {
		err = fmt.Errorf("%d bytes are free, and writing a file of %d anew would leave less than the %d that must stay free: make room", space.Free, size, space.Floor)
	}
	return err
}

// A Space is how much room there is for the log.
type Space struct {
	Free  int64 // bytes
	Floor int64 // below which no session begins
}

// Space asks how much room there is.
func (r *Recorder) Space() (Space, error) {
	free, all, err := diskBytes(r.opts.Dir)
	return Space{Free: free, Floor: max(r.opts.Reserve, int64(float64(all)*r.opts.ReservePercent/100))}, err
}

// freeBytes returns how much can still be written to the filesystem of dir.
func freeBytes(dir string) (int64, error) {
	free, _, err := diskBytes(dir)
	return free, err
}

func diskBytes(dir string) (free, all int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("ask how much of %s is free: %w", dir, err)
	}
	return int64(fs.Bavail) * fs.Bsize, int64(fs.Blocks) * fs.Bsize, nil
}
