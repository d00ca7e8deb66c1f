package recorder

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A sealed segment holds what a plain one held, written anew once it had ended:
// the same header with another magic, blocks of records each compressed (and
// encrypted) by itself, what has to be read without a key, and at the end what
// says where all of it is. FORMAT.md has the layout.
//
// It takes the name of the plain one, so that a segment is always one file.
// Places within it are those of the plain one.

// A form is how a segment is written.
type form byte

const (
	plainForm     form = iota + 1 // frames, being appended to
	sealedForm                    // compressed
	encryptedForm                 // compressed, and encrypted to age recipients
	emptiedForm                   // only the hashes are left
)

func (f form) String() string {
	switch f {
	case plainForm:
		return "plain"
	case sealedForm:
		return "sealed"
	case encryptedForm:
		return "encrypted"
	}
	return "emptied"
}

const (
	blockRaw   = 256 << 10              // bytes of records after which a block ends
	maxBlock   = blockRaw + maxFrame    // a block's records, at most
	maxStored  = maxBlock + 1<<16       // what they take in the file, at most
	maxFoot    = 64 << 20               // a foot's bytes, at most
	maxRecords = 1 << 31                // of one segment
	blockEntry = 4 + 4 + 4 + 8 + 4 + 32 // bytes of a block's entry in the foot
	footEnd    = 4 + 4 + 8              // length and checksum of the foot, magic
	footMagic  = "agentd\x00F"
)

// A foot says where everything in a sealed segment is.
type foot struct {
	Records int64 `json:"records"`
	// Size is where the plain segment ended.
	Size  int64     `json:"size"`
	First time.Time `json:"first"` // of the first record
	Last  time.Time `json:"last"`  // of the last
	Key   []byte    `json:"key,omitempty"`
	// Leaves is where the hashes are, 0 if they follow from the records.
	Leaves    int64  `json:"leaves,omitempty"`
	LeavesSum uint32 `json:"leaves_sum,omitempty"`
	// Own is where the log's own records are in the clear.
	Own    int64  `json:"own,omitempty"`
	OwnLen uint32 `json:"own_len,omitempty"`
	OwnRaw uint32 `json:"own_raw,omitempty"`
	OwnSum uint32 `json:"own_sum,omitempty"`
	// Rule emptied it, At then.
	Rule string    `json:"rule,omitempty"`
	At   time.Time `json:"at,omitzero"`

	blocks []block
}

// A block is some records that are read together. They begin where those of the
// one before end.
type block struct {
	stored  uint32 // bytes in the file
	raw     uint32 // bytes of its records
	records uint32
	offset  int64  // of its first record, in the plain segment
	sum     uint32 // of what is stored
	before  tlog.Hash

	at    int64 // in the file
	first int64 // index of its first record in the segment
}

var errFoot = errors.New("what says where its records are is damaged")

// appendFoot appends a foot and its end.
func appendFoot(dst []byte, f *foot) ([]byte, error) {
	start := len(dst)
	head, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(head)))
	dst = append(dst, head...)
	for i := range f.blocks {
		b := &f.blocks[i]
		dst = binary.LittleEndian.AppendUint32(dst, b.stored)
		dst = binary.LittleEndian.AppendUint32(dst, b.raw)
		dst = binary.LittleEndian.AppendUint32(dst, b.records)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(b.offset))
		dst = binary.LittleEndian.AppendUint32(dst, b.sum)
		dst = append(dst, b.before[:]...)
	}
	sum := crc32.Checksum(dst[start:], castagnoli)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(dst)-start))
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return append(dst, footMagic...), nil
}

// readFoot reads the foot of a sealed segment of size bytes, whose header takes
// the first head of them.
func readFoot(r io.ReaderAt, size, head int64) (*foot, error) {
	var end [footEnd]byte
	if size < head+footEnd {
		return nil, errFoot
	}
	if _, err := r.ReadAt(end[:], size-footEnd); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	if string(end[8:]) != footMagic || n < 4 || n > maxFoot || n > size-head-footEnd {
		return nil, errFoot
	}
	buf := make([]byte, n)
	if _, err := r.ReadAt(buf, size-footEnd-n); err != nil {
		return nil, err
	}
	if crc32.Checksum(buf, castagnoli) != binary.LittleEndian.Uint32(end[4:]) {
		return nil, errFoot
	}
	return parseFoot(buf, head, size-footEnd-n)
}

// parseFoot reads a foot; what it tells of lies between head and end.
func parseFoot(buf []byte, head, end int64) (*foot, error) {
	n := int64(binary.LittleEndian.Uint32(buf))
	if n > int64(len(buf))-4 || (int64(len(buf))-4-n)%blockEntry != 0 {
		return nil, errFoot
	}
	var f foot
	if json.Unmarshal(buf[4:4+n], &f) != nil {
		return nil, errFoot
	}
	at, offset, records := head, head, int64(0)
	for buf = buf[4+n:]; len(buf) > 0; buf = buf[blockEntry:] {
		b := block{
			stored: binary.LittleEndian.Uint32(buf), raw: binary.LittleEndian.Uint32(buf[4:]),
			records: binary.LittleEndian.Uint32(buf[8:]), offset: int64(binary.LittleEndian.Uint64(buf[12:])),
			sum: binary.LittleEndian.Uint32(buf[20:]), at: at, first: records,
		}
		copy(b.before[:], buf[24:])
		if b.stored > maxStored || b.raw > maxBlock || b.records == 0 || b.records > b.raw || b.offset < offset {
			return nil, errFoot
		}
		f.blocks = append(f.blocks, b)
		at, offset, records = at+int64(b.stored), b.offset, records+int64(b.records)
	}
	if !f.fits(at, end, records) {
		return nil, errFoot
	}
	return &f, nil
}

// fits reports whether what the foot tells of can be there, after the blocks,
// which end at from and have records.
func (f *foot) fits(from, end, records int64) bool {
	if f.Records < 0 || f.Records > maxRecords || from > end || len(f.blocks) > 0 && records != f.Records {
		return false
	}
	if f.Leaves != 0 && (f.Leaves < from || f.Leaves > end || f.Records*tlog.HashSize > end-f.Leaves) {
		return false
	}
	if len(f.blocks) == 0 && f.Records > 0 && f.Leaves == 0 {
		return false
	}
	return f.Own == 0 || f.Own >= from && f.Own <= end && int64(f.OwnLen) <= end-f.Own
}
