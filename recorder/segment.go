package recorder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// A segment file begins with a header: magic, the index of its first record,
// the hash of the record before that, the frontier of the tree up to there,
// and a checksum. Frames follow.
const (
	segmentMagic  = "agentd\x00\x01" // the last byte is the form
	segmentSuffix = ".seg"
	headerFixed   = len(segmentMagic) + 8 + tlog.HashSize
	maxHeader     = headerFixed + maxLevels*tlog.HashSize + 4
)

// A segment is a segment file being written.
type segment struct {
	f       *os.File
	number  int64
	size    int64     // up to the end of the last whole frame
	records bool      // some frames follow the header
	born    time.Time // when it got its first record

	// By whoever holds the disk's flushing:
	listed bool // its name is on the disk
	synced bool // it is full, and on the disk
}

// createSegment starts the segment that continues log.
func createSegment(dir string, number int64, log *chain) (*segment, error) {
	path := filepath.Join(dir, segmentName(number))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	header := appendHeader(nil, log)
	if _, err := f.WriteAt(header, 0); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return &segment{f: f, number: number, size: int64(len(header))}, nil
}

// append writes frames, all or none.
func (s *segment) append(frames []byte) error {
	if _, err := s.f.WriteAt(frames, s.size); err != nil {
		s.trim() // if this fails, too, resume tries again before anything is written
		return err
	}
	s.size += int64(len(frames))
	if !s.records {
		s.born, s.records = time.Now(), true
	}
	return nil
}

// reserve takes space for the segment to grow to limit, if keep bytes stay
// free. It only saves time: appends to space that is taken are a third faster
// (ext4), and what is not used is given back by trim.
func (s *segment) reserve(limit, keep int64) {
	free, err := freeBytes(s.f.Name())
	if err == nil && free >= limit+keep {
		unix.Fallocate(int(s.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, limit)
	}
}

// trim cuts off what an append that failed left behind, and unused space.
func (s *segment) trim() error { return s.f.Truncate(s.size) }

func segmentName(number int64) string { return fmt.Sprintf("%012d%s", number, segmentSuffix) }

// segmentNumber is the reverse of segmentName.
func segmentNumber(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 12 {
		return 0, false
	}
	var n int64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int64(d-'0')
	}
	return n, true
}

// segmentNumbers returns the numbers of the segments in dir, ascending.
func segmentNumbers(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int64
	for _, e := range entries { // sorted by name, and so by number
		if n, ok := segmentNumber(e.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

func appendHeader(dst []byte, log *chain) []byte { return appendHeaderOf(dst, plainForm, log) }

func appendHeaderOf(dst []byte, as form, log *chain) []byte {
	start := len(dst)
	dst = append(append(dst, segmentMagic[:len(segmentMagic)-1]...), byte(as))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(log.tree.size))
	dst = append(dst, log.last[:]...)
	dst = log.tree.appendFrontier(dst)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// formOf returns the form of the segment that head begins; 0 if none does.
func formOf(head []byte) form {
	kind := len(segmentMagic) - 1
	if string(head[:kind]) != segmentMagic[:kind] || form(head[kind]) < plainForm || form(head[kind]) > emptiedForm {
		return 0
	}
	return form(head[kind])
}

var (
	errShort  = errors.New("the file ends before its header does")
	errHeader = errors.New("the header is damaged")
)

// parseHeader reads the header at the front of buf, which holds the whole file
// or at least maxHeader bytes of it, and returns the state of the log before
// the segment and the header's length.
func parseHeader(buf []byte) (chain, int, error) {
	var log chain
	if len(buf) < headerFixed {
		return log, 0, errShort
	}
	if formOf(buf) == 0 {
		return log, 0, errHeader
	}
	first := binary.LittleEndian.Uint64(buf[len(segmentMagic):])
	copy(log.last[:], buf[len(segmentMagic)+8:])
	if first>>maxLevels != 0 {
		return log, 0, errHeader
	}
	end := headerFixed + bits.OnesCount64(first)*tlog.HashSize
	if len(buf) < end+4 {
		return log, 0, errShort
	}
	if crc32.Checksum(buf[:end], castagnoli) != binary.LittleEndian.Uint32(buf[end:]) {
		return log, 0, errHeader
	}
	var ok bool
	if log.tree, ok = treeFrom(int64(first), buf[headerFixed:end]); !ok {
		return log, 0, errHeader
	}
	return log, end + 4, nil
}
