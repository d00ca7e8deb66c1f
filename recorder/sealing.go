package recorder

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"
)

// A sealing writes a segment anew: sealed, encrypted or emptied.
type sealing struct {
	w       io.Writer
	written int64
	hash    []byte // of the file, once it is whole
	deflate *zstd.Encoder
	seal    cipher.AEAD // nil unless it is encrypted

	form    form
	head    []byte
	foot    foot
	log     chain
	raw     []byte // records of the block
	block   block
	leaves  []byte
	own     []byte
	payload []byte // the first record that can be read, then the last
}

// errUnsealed: what is there now stays.
var errUnsealed = errors.New("the segment is not what the log says: run `agentctl audit verify`")

// newEncoder makes what compresses blocks.
func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(zstd.MinWindowSize<<10))
}

// rewrite writes the segment that src reads to f in another form, and syncs it. The
// records have to be those up to next, the log after it. Where it is encrypted it
// returns what decrypts it. Between records it asks stopped.
func (s *sealing) rewrite(f *os.File, src *opened, next *chain, recipients []age.Recipient, stopped func() bool) error {
	sum := sha256.New()
	s.w = io.MultiWriter(f, sum)
	s.log = src.before
	if s.form == encryptedForm {
		var err error
		if s.seal, s.foot.Key, err = newCipher(recipients); err != nil {
			return err
		}
	}
	s.head = appendHeaderOf(nil, s.form, &src.before)
	if err := s.write(s.head); err != nil {
		return err
	}
	if err := s.records(src, stopped); err != nil {
		return err
	}
	if !s.log.equals(next) {
		return errUnsealed
	}
	if err := s.finish(src); err != nil {
		return err
	}
	s.hash = sum.Sum(nil)
	return f.Sync()
}

func (s *sealing) write(b []byte) error {
	_, err := s.w.Write(b)
	s.written += int64(len(b))
	return err
}

var errStopped = errors.New("stopped")

func (s *sealing) records(src *opened, stopped func() bool) error {
	for n := int64(0); ; n++ {
		if stopped() {
			return errStopped
		}
		offset := src.place()
		payload, l, err := src.next()
		if err == io.EOF {
			return nil
		}
		if unreadable(err) || errors.Is(err, errLink) || errors.Is(err, errTorn) || err == nil && !l.follows(&s.log) {
			return errUnsealed
		}
		if err != nil {
			return err
		}
		if payload == nil && s.form != emptiedForm {
			return ErrHidden
		}
		if err := s.add(n, offset, payload, l.leaf); err != nil {
			return err
		}
	}
}

func (s *sealing) add(n, offset int64, payload []byte, leaf tlog.Hash) error {
	if s.form != sealedForm {
		s.leaves = append(s.leaves, leaf[:]...)
	}
	if payload != nil {
		if s.form != sealedForm && ownRecord(payload) && len(s.own) < blockRaw {
			s.own = binary.AppendUvarint(s.own, uint64(n))
			s.own = appendBody(s.own, payload)
		}
		if s.payload == nil {
			s.foot.First = timeOf(payload)
		}
		s.payload = append(s.payload[:0], payload...)
	}
	if s.form != emptiedForm {
		if s.block.records == 0 {
			s.block = block{offset: offset, before: s.log.last}
		}
		s.block.records++
		s.raw = appendBody(s.raw, payload)
	}
	s.log.add(leaf)
	s.foot.Records++
	if len(s.raw) >= blockRaw {
		return s.end()
	}
	return nil
}

// appendBody appends a record without what follows from its place.
func appendBody(dst, payload []byte) []byte {
	body := payload[1+len(recordHead):]
	return append(binary.AppendUvarint(dst, uint64(len(body))), body...)
}

// end writes the block.
func (s *sealing) end() error {
	if s.block.records == 0 {
		return nil
	}
	stored := s.deflate.EncodeAll(s.raw, nil)
	if s.seal != nil {
		stored = s.seal.Seal(stored[:0], nonce(len(s.foot.blocks)), stored, s.head)
	}
	s.block.stored, s.block.raw = uint32(len(stored)), uint32(len(s.raw))
	s.block.sum = crc32.Checksum(stored, castagnoli)
	s.foot.blocks = append(s.foot.blocks, s.block)
	s.block, s.raw = block{}, s.raw[:0]
	return s.write(stored)
}

// finish writes what follows the blocks.
func (s *sealing) finish(src *opened) error {
	if err := s.end(); err != nil {
		return err
	}
	s.foot.Size, s.foot.Last = src.place(), timeOf(s.payload)
	if was := src.foot; was != nil { // it knows of records that are hidden here, too
		s.foot.First, s.foot.Last, s.foot.Size = was.First, was.Last, was.Size
	}
	if s.form != sealedForm {
		s.foot.Leaves, s.foot.LeavesSum = s.written, crc32.Checksum(s.leaves, castagnoli)
		if err := s.write(s.leaves); err != nil {
			return err
		}
	}
	if len(s.own) > 0 {
		stored := s.deflate.EncodeAll(s.own, nil)
		s.foot.Own, s.foot.OwnLen, s.foot.OwnRaw = s.written, uint32(len(stored)), uint32(len(s.own))
		s.foot.OwnSum = crc32.Checksum(stored, castagnoli)
		if err := s.write(stored); err != nil {
			return err
		}
	}
	end, err := appendFoot(nil, &s.foot)
	if err != nil {
		return err
	}
	return s.write(end)
}

// check reads what was written, and compares it with what it was written of.
func (s *sealing) check(f *os.File) error {
	o := opener{}
	again, err := o.read(f)
	if err != nil {
		return err
	}
	if r := again.source.(*sealed); s.seal != nil {
		r.open, r.leaves, again.hidden = s.seal, nil, false
		r.enter(0)
	}
	log := again.before
	for {
		_, l, err := again.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		log.add(l.leaf)
	}
	if !log.equals(&s.log) {
		return fmt.Errorf("what was written is not what was read: %w", errDamaged)
	}
	return nil
}

// ownRecord reports whether a record is of the log itself, and says nothing of
// any session: such stay in the clear, because Verify and retention need them.
func ownRecord(payload []byte) bool {
	if sessionOf(payload) != nil {
		return false
	}
	switch recordType(payload[1:]) {
	case "start", "stop", "recovered", "gap", "heartbeat":
		return true
	case "note":
		return keptNote(payload)
	}
	return false
}

// Kinds of notes that are of the log itself.
const (
	noteSealed  = "sealed"
	noteEmptied = "emptied"
	noteHold    = "hold"
	noteRelease = "release"
)

// A logNote is a note about the log itself.
type logNote struct {
	Index int64     `json:"i"`
	Time  time.Time `json:"time"`
	Kind  string    `json:"kind"`
	Attrs struct {
		Segment string `json:"segment"`
		SHA256  string `json:"sha256"`
		Rule    string `json:"rule"`
		Hold    string `json:"hold"`
		Of      string `json:"of"` // a session; not called that, which records of one are
		From    string `json:"from"`
		To      string `json:"to"`
		Why     string `json:"why"`
		By      string `json:"by"`
	} `json:"attrs"`
}

// kindOf returns the kind of a note's record, "" if it is none.
func kindOf(payload []byte) string {
	const front = `note","time":"2006-01-02T15:04:05.000000000Z","kind":"`
	at := 1 + len(recordHead) + len(front)
	if len(payload) < at || !bytes.HasPrefix(payload[1+len(recordHead):], []byte(`note"`)) {
		return ""
	}
	kind, _, _ := bytes.Cut(payload[at:], []byte(`"`))
	return string(kind)
}

// keptNote reports whether a record is a note that says nothing of any session, and
// that the log is verified with.
func keptNote(payload []byte) bool {
	switch kindOf(payload) {
	case noteSealed, noteEmptied, noteHold, noteRelease, keyKind:
		return true
	}
	return false
}

// ownNote reads a record if it is a note of what becomes of segments.
func ownNote(payload []byte) (*logNote, bool) {
	switch kindOf(payload) {
	case noteSealed, noteEmptied, noteHold, noteRelease:
	default:
		return nil, false
	}
	var n logNote
	if json.Unmarshal(payload[1:], &n) != nil {
		return nil, false
	}
	return &n, true
}
