package index

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// blockBits is how many records are in a block: those whose index has the same
// bits above them.
const (
	blockBits = 16
	blockSize = 1 << blockBits
	dense     = blockSize/16 - 1 // members beyond which a bit for each is no longer than a list
)

// A set is some records of a block, by the low bits of their index.
type set struct {
	list []uint16 // sorted, unless bits is there
	bits *bitmap
}

// A bitmap has a bit for each record of a block.
type bitmap [blockSize / 64]uint64

func (s *set) add(n uint16) {
	switch {
	case s.bits != nil:
		s.bits[n>>6] |= 1 << (n & 63)
	case len(s.list) == 0 || s.list[len(s.list)-1] < n:
		s.list = append(s.list, n)
	default:
		if i, has := slices.BinarySearch(s.list, n); !has {
			s.list = slices.Insert(s.list, i, n)
		}
	}
	if len(s.list) > dense {
		s.bits = new(bitmap)
		for _, n := range s.list {
			s.bits[n>>6] |= 1 << (n & 63)
		}
		s.list = nil
	}
}

func (s *set) remove(n uint16) {
	if s.bits != nil {
		s.bits[n>>6] &^= 1 << (n & 63)
	} else if i, has := slices.BinarySearch(s.list, n); has {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

// bytes appends s as it is kept: a list of members, or a bit for each.
func (s *set) bytes(to []byte) []byte {
	if s.bits != nil && s.bits.count() > dense {
		for _, word := range s.bits {
			to = binary.LittleEndian.AppendUint64(to, word)
		}
		return to
	}
	if s.bits != nil {
		for n := s.bits.below(blockSize); n >= 0; n = s.bits.below(n) {
			s.list = append(s.list, uint16(n))
		}
		slices.Reverse(s.list)
		s.bits = nil
	}
	for _, n := range s.list {
		to = binary.LittleEndian.AppendUint16(to, n)
	}
	return to
}

// parse is the reverse of bytes.
func parse(kept []byte) *set {
	s := &set{}
	if len(kept) == blockSize/8 {
		s.bits = new(bitmap)
		s.bits.or(kept)
		return s
	}
	for ; len(kept) > 1; kept = kept[2:] {
		s.list = append(s.list, binary.LittleEndian.Uint16(kept))
	}
	return s
}

// or adds a set as it is kept.
func (b *bitmap) or(kept []byte) {
	if len(kept) == blockSize/8 {
		for i := range b {
			b[i] |= binary.LittleEndian.Uint64(kept[8*i:])
		}
		return
	}
	for ; len(kept) > 1; kept = kept[2:] {
		n := binary.LittleEndian.Uint16(kept)
		b[n>>6] |= 1 << (n & 63)
	}
}

func (b *bitmap) and(c *bitmap) {
	for i := range b {
		b[i] &= c[i]
	}
}

func (b *bitmap) has(n int) bool { return b[n>>6]>>(n&63)&1 != 0 }
func (b *bitmap) remove(n int)   { b[n>>6] &^= 1 << (n & 63) }

// clear removes what is in [from, to).
func (b *bitmap) clear(from, to int) {
	for n := from; n < to; {
		if n&63 == 0 && n+64 <= to {
			b[n>>6] = 0
			n += 64
			continue
		}
		b.remove(n)
		n++
	}
}

func (b *bitmap) count() (n int) {
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

// below returns the greatest member that is less than n, -1 if there is none.
func (b *bitmap) below(n int) int {
	if n--; n < 0 {
		return -1
	}
	i := n >> 6
	word := b[i] & (^uint64(0) >> (63 - n&63))
	for word == 0 {
		if i--; i < 0 {
			return -1
		}
		word = b[i]
	}
	return i<<6 + bits.Len64(word) - 1
}
