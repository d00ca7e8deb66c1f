package recorder

import "golang.org/x/mod/sumdb/tlog"

// maxLevels bounds the height of a tree: 2^48 records.
const maxLevels = 48

// emptyRoot is the root of a tree without records, RFC 6962 section 2.1: the
// SHA-256 of nothing.
var emptyRoot = tlog.Hash{
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
	0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
}

// A tree is a Merkle tree of RFC 6962 that only grows. It keeps the roots of
// its complete subtrees (its frontier) and nothing else. Copying it is taking
// a snapshot.
type tree struct {
	size  int64
	roots [maxLevels]tlog.Hash // roots[l] counts where bit l of size is set
}

// add appends a leaf.
func (t *tree) add(leaf tlog.Hash) {
	level := 0
	for n := t.size; n&1 == 1; n >>= 1 {
		leaf = tlog.NodeHash(t.roots[level], leaf)
		level++
	}
	t.roots[level] = leaf
	t.size++
}

// root returns the root hash.
func (t *tree) root() tlog.Hash {
	root, some := emptyRoot, false
	for level := 0; t.size>>level != 0; level++ {
		switch {
		case t.size>>level&1 == 0:
		case !some:
			root, some = t.roots[level], true
		default:
			root = tlog.NodeHash(t.roots[level], root)
		}
	}
	return root
}

// appendFrontier appends the hashes that, with the size, are the whole tree.
func (t *tree) appendFrontier(dst []byte) []byte {
	for level := range t.roots {
		if t.size>>level&1 == 1 {
			dst = append(dst, t.roots[level][:]...)
		}
	}
	return dst
}

// treeFrom is the reverse of appendFrontier; false if the number of hashes is
// not that of a tree of this size.
func treeFrom(size int64, frontier []byte) (tree, bool) {
	t := tree{size: size}
	if size < 0 || size>>maxLevels != 0 {
		return t, false
	}
	for level := range t.roots {
		if size>>level&1 == 1 && len(frontier) >= tlog.HashSize {
			frontier = frontier[copy(t.roots[level][:], frontier):]
			size &^= 1 << level
		}
	}
	return t, size == 0 && len(frontier) == 0
}
