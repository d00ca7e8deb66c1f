package recorder

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

var (
	// errTorn: the bytes end within a frame.
	errTorn = errors.New("the file ends within a record")
	// errDamaged: there is a frame, but not one that was written.
	errDamaged = errors.New("checksum does not match")
)

// frames reads the frames of one segment, in order.
type frames struct {
	file   io.Reader
	r      *bufio.Reader
	before chain // the log before the segment, as its header says
	offset int64 // of the frame that comes
	gone   bool  // where the next frame begins cannot be known
	buf    []byte
}

// openFrames reads the header of a segment.
func openFrames(r io.Reader) (*frames, error) {
	f := &frames{file: r, r: bufio.NewReaderSize(r, 256<<10)}
	head, err := f.r.Peek(maxHeader)
	if err != nil && err != io.EOF {
		return nil, err
	}
	before, n, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	f.before, f.offset = before, int64(n)
	_, err = f.r.Discard(n)
	return f, err
}

// frames are a source.
func (f *frames) next() ([]byte, link, error) {
	payload, err := f.frame()
	if err != nil {
		return payload, link{}, err
	}
	l, err := readLink(payload)
	return payload, l, err
}

func (f *frames) place() int64 { return f.offset }
func (f *frames) lost() bool   { return f.gone }

// seek needs a file that can.
func (f *frames) seek(offset int64) error {
	if _, err := f.file.(io.Seeker).Seek(offset, io.SeekStart); err != nil {
		return err
	}
	f.r.Reset(f.file)
	f.offset = offset
	return nil
}

// frame returns the next frame's payload, valid until the next call. It returns
// io.EOF after the last frame, errTorn if the file ends within one, and
// errDamaged, with the frame skipped, if its checksum is wrong; a length that
// cannot be is errDamaged, too, and nothing after it can be read.
func (f *frames) frame() ([]byte, error) {
	head, err := f.r.Peek(frameHead)
	if err == io.EOF && len(head) == 0 {
		return nil, io.EOF
	}
	if err != nil {
		return nil, f.torn(err)
	}
	n := int(binary.LittleEndian.Uint32(head))
	if n < 1+len(recordHead) || n > maxFrame {
		f.gone = true
		return nil, fmt.Errorf("a record of %d bytes: %w", n, errDamaged)
	}
	sum := binary.LittleEndian.Uint32(head[4:])
	if _, err := f.r.Discard(frameHead); err != nil {
		return nil, err
	}
	if cap(f.buf) < n {
		f.buf = make([]byte, n, 2*n)
	}
	f.buf = f.buf[:n]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		return nil, f.torn(err)
	}
	f.offset += int64(frameHead + n)
	if crc32.Checksum(f.buf, castagnoli) != sum || f.buf[0] != 0 {
		return f.buf, errDamaged
	}
	return f.buf, nil
}

func (f *frames) torn(err error) error {
	f.gone = true
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTorn
	}
	return err
}

// A link is what a record says of its place in the chain.
type link struct {
	index int64
	prev  [prevWidth / 2]byte // the front of its predecessor's leaf hash
	leaf  tlog.Hash           // its own
}

var errLink = errors.New("the record does not begin as records do")

// readLink reads the fixed front of a frame's payload.
func readLink(payload []byte) (link, error) {
	l := link{leaf: sha256.Sum256(payload)}
	if len(payload) < 1+len(recordHead) {
		return l, errLink
	}
	record := payload[1:]
	digits := record[indexAt : indexAt+indexWidth]
	if string(record[:indexAt]) != recordHead[:indexAt] ||
		string(record[indexAt+indexWidth:prevAt]) != recordHead[indexAt+indexWidth:prevAt] ||
		string(record[prevAt+prevWidth:len(recordHead)]) != recordHead[prevAt+prevWidth:] {
		return l, errLink
	}
	started := false
	for i, d := range digits {
		switch {
		case d == ' ' && !started && i < len(digits)-1:
		case d < '0' || d > '9':
			return l, errLink
		default:
			started = true
			l.index = l.index*10 + int64(d-'0')
		}
	}
	if _, err := hex.Decode(l.prev[:], record[prevAt:prevAt+prevWidth]); err != nil {
		return l, errLink
	}
	return l, nil
}

// follows reports whether l is the record that comes next in log.
func (l *link) follows(log *chain) bool {
	return l.index == log.tree.size && l.prev == [prevWidth / 2]byte(log.last[:])
}

// recordType returns the type of a record that readLink accepts; "" if it has
// none.
func recordType(record []byte) string {
	kind, _, ok := bytes.Cut(record[len(recordHead):], []byte(`"`))
	if !ok {
		return ""
	}
	return string(kind)
}
