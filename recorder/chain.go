package recorder

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"

	"golang.org/x/mod/sumdb/tlog"
)

// A chain is the state of a log: its tree, and the hash of its last record,
// which the next record repeats.
//
// The tree proves that something was changed, the chain says which record: a
// record that was changed, removed or moved no longer matches what its
// successor says of it.
type chain struct {
	tree tree
	last tlog.Hash
}

// add appends a record's leaf hash.
func (c *chain) add(leaf tlog.Hash) {
	c.tree.add(leaf)
	c.last = leaf
}

// equals reports whether two chains are of the same records.
func (c *chain) equals(other *chain) bool {
	return c.tree.size == other.tree.size && c.last == other.last && c.tree.root() == other.tree.root()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal fills in what a record's frame can only say when its place is known
// (its index, its predecessor, its checksum) and adds the record to the chain.
// Frames are those of a Turn.
func (c *chain) seal(frames []byte) {
	for len(frames) > 0 {
		n := frameHead + int(binary.LittleEndian.Uint32(frames))
		payload := frames[frameHead:n]
		putIndex(payload[1+indexAt:1+indexAt+indexWidth], c.tree.size)
		hex.Encode(payload[1+prevAt:1+prevAt+prevWidth], c.last[:prevWidth/2])
		binary.LittleEndian.PutUint32(frames[4:], crc32.Checksum(payload, castagnoli))
		c.add(sha256.Sum256(payload)) // the leaf hash of RFC 6962: payload starts with 0x00
		frames = frames[n:]
	}
}

// putIndex writes n right-aligned into dst, over what was there.
func putIndex(dst []byte, n int64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = ' '
		if n > 0 || i == len(dst)-1 {
			dst[i] = byte('0' + n%10)
			n /= 10
		}
	}
}
