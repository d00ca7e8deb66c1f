package recorder

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"
)

// A sealed reads a sealed segment: a source.
type sealed struct {
	r       io.ReaderAt
	foot    *foot
	head    []byte // the header's bytes
	before  chain
	inflate *zstd.Decoder
	open    cipher.AEAD // nil if it is not encrypted, or not to be read

	// Where its records are hidden:
	leaves []byte
	own    map[int64][]byte // by index in the segment, without their fronts

	block  int       // the one being read
	at     int64     // index in the segment of the record that comes
	offset int64     // and its place
	last   tlog.Hash // the record before it
	rest   []byte    // of the block's records
	loaded bool      // rest is the block's

	stored, raw, payload []byte // reused
}

// A blockError is a block that is not as it was written.
type blockError struct {
	first, last int64 // indexes of its records
	why         string
}

func (e *blockError) Error() string { return e.why }
func (e *blockError) Unwrap() error { return errDamaged }

// hide reads what there is to be read of records that are hidden.
func (s *sealed) hide() error {
	if s.foot.Leaves == 0 && s.foot.Records > 0 {
		return errFoot
	}
	s.leaves = make([]byte, s.foot.Records*tlog.HashSize)
	if _, err := s.r.ReadAt(s.leaves, s.foot.Leaves); err != nil && len(s.leaves) > 0 {
		return err
	}
	if crc32.Checksum(s.leaves, castagnoli) != s.foot.LeavesSum {
		return fmt.Errorf("the hashes of its records: %w", errDamaged)
	}
	return s.readOwn()
}

// readOwn reads the records that are in the clear.
func (s *sealed) readOwn() error {
	s.own = map[int64][]byte{}
	if s.foot.Own == 0 {
		return nil
	}
	stored := make([]byte, s.foot.OwnLen)
	if _, err := s.r.ReadAt(stored, s.foot.Own); err != nil {
		return err
	}
	bad := fmt.Errorf("the log's own records in it: %w", errDamaged)
	if crc32.Checksum(stored, castagnoli) != s.foot.OwnSum || s.foot.OwnRaw > maxBlock {
		return bad
	}
	raw, err := s.inflate.DecodeAll(stored, nil)
	if err != nil || len(raw) != int(s.foot.OwnRaw) {
		return bad
	}
	for len(raw) > 0 {
		index, n := binary.Uvarint(raw)
		if n <= 0 || index >= uint64(s.foot.Records) {
			return bad
		}
		var body []byte
		var ok bool
		if body, raw, ok = nextBody(raw[n:]); !ok {
			return bad
		}
		s.own[int64(index)] = body
	}
	return nil
}

// nextBody cuts a record, without its front, off what is left of a block.
func nextBody(raw []byte) (body, rest []byte, ok bool) {
	size, n := binary.Uvarint(raw)
	if n <= 0 || size > uint64(len(raw)-n) || size > maxFrame-uint64(1+len(recordHead)) {
		return nil, nil, false
	}
	return raw[n : n+int(size)], raw[n+int(size):], true
}

// enter makes the first record of a block the next.
func (s *sealed) enter(block int) {
	s.block, s.rest, s.loaded = block, nil, false
	switch {
	case block < len(s.foot.blocks):
		b := &s.foot.blocks[block]
		s.at, s.offset, s.last = b.first, b.offset, b.before
	case block > 0:
		s.at, s.offset = s.foot.Records, s.foot.Size
	default: // there is no block
		s.at, s.offset, s.last = 0, int64(len(s.head)), s.before.last
	}
}

func (s *sealed) place() int64 { return s.offset }
func (s *sealed) lost() bool   { return false }

func (s *sealed) next() ([]byte, link, error) {
	if s.at >= s.foot.Records {
		return nil, link{}, io.EOF
	}
	if s.leaves != nil {
		return s.nextHidden()
	}
	if !s.loaded {
		if err := s.load(); err != nil {
			s.enter(s.block + 1)
			return nil, link{}, err
		}
	}
	body, rest, ok := nextBody(s.rest)
	if !ok {
		err := s.bad("its records are not as they were written")
		s.enter(s.block + 1)
		return nil, link{}, err
	}
	s.rest = rest
	payload := s.whole(body)
	l := link{index: s.before.tree.size + s.at, prev: half(s.last), leaf: sha256.Sum256(payload)}
	s.at++
	s.offset += int64(frameHead + len(payload))
	s.last = l.leaf
	if s.block+1 < len(s.foot.blocks) && s.at == s.foot.blocks[s.block+1].first {
		return payload, l, s.cross()
	}
	return payload, l, nil
}

// cross goes on with the next block, which says what the last record was.
func (s *sealed) cross() error {
	err := s.bad("its records are not what the next block says")
	fits := len(s.rest) == 0 && s.foot.blocks[s.block+1].before == s.last && s.foot.blocks[s.block+1].offset == s.offset
	s.enter(s.block + 1)
	if fits {
		return nil
	}
	return err
}

// nextHidden is next where only the hashes can be read.
func (s *sealed) nextHidden() ([]byte, link, error) {
	l := link{index: s.before.tree.size + s.at, prev: half(s.last)}
	copy(l.leaf[:], s.leaves[s.at*tlog.HashSize:])
	body, clear := s.own[s.at]
	var payload []byte
	if clear {
		payload = s.whole(body)
	}
	s.at++
	s.last = l.leaf
	if b := s.block + 1; b < len(s.foot.blocks) && s.at == s.foot.blocks[b].first {
		s.block, s.offset = b, s.foot.blocks[b].offset
	}
	if clear && sha256.Sum256(payload) != l.leaf {
		return payload, l, errDamaged
	}
	return payload, l, nil
}

// whole puts a record's front back: its index, and what was before it.
func (s *sealed) whole(body []byte) []byte {
	s.payload = append(append(append(s.payload[:0], 0), recordHead...), body...)
	putIndex(s.payload[1+indexAt:1+indexAt+indexWidth], s.before.tree.size+s.at)
	hex.Encode(s.payload[1+prevAt:1+prevAt+prevWidth], s.last[:prevWidth/2])
	return s.payload
}

// load reads the block.
func (s *sealed) load() error {
	b := &s.foot.blocks[s.block]
	s.stored = append(s.stored[:0], make([]byte, b.stored)...)
	if _, err := s.r.ReadAt(s.stored, b.at); err != nil {
		return err
	}
	if crc32.Checksum(s.stored, castagnoli) != b.sum {
		return s.bad("the checksum of the block it is in does not match")
	}
	stored := s.stored
	if s.open != nil {
		var err error
		if stored, err = s.open.Open(stored[:0], nonce(s.block), stored, s.head); err != nil {
			return s.bad("the block it is in was not encrypted by this node for this segment")
		}
	}
	raw, err := s.inflate.DecodeAll(stored, s.raw[:0])
	if err != nil || len(raw) != int(b.raw) {
		return s.bad("the block it is in cannot be decompressed")
	}
	s.raw, s.rest, s.loaded = raw, raw, true
	return nil
}

// bad is an error about the block being read.
func (s *sealed) bad(why string) error {
	b := &s.foot.blocks[s.block]
	first := s.before.tree.size + b.first
	return &blockError{first, first + int64(b.records) - 1, why}
}

func (s *sealed) seek(offset int64) error {
	block := 0
	for block+1 < len(s.foot.blocks) && s.foot.blocks[block+1].offset <= offset {
		block++
	}
	s.enter(block)
	for s.leaves == nil && s.offset < offset && s.at < s.foot.Records {
		if _, _, err := s.next(); err != nil {
			return err
		}
	}
	return nil
}
