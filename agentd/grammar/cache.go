package grammar

import (
	"hash/maphash"
	"sync"
	"time"

	"agentd.dev/decoders/sql"
)

// Bounds of a cache. What an entry holds is estimated from what came over the
// wire for it, which is maxReply at most.
const (
	shards   = 16
	maxBytes = 1 << 20 // of each of a shard's two halves
)

// A cache remembers meanings by key. Each shard is two halves: when the recent
// one is full it becomes the old one, and what was in that is forgotten unless
// it is used again first. It is for concurrent use.
type cache struct {
	seed   maphash.Seed
	once   sync.Once
	shards [shards]shard
}

type shard struct {
	mu          sync.RWMutex // guards what follows
	recent, old map[string]entry
	bytes       int // of recent
}

type entry struct {
	meaning *sql.Meaning
	until   time.Time // zero: for good
	bytes   int
}

func (c *cache) shard(key []byte) *shard {
	c.once.Do(func() { c.seed = maphash.MakeSeed() })
	return &c.shards[maphash.Bytes(c.seed, key)%shards]
}

// get returns the meaning of a key, nil if it is not remembered. It allocates
// only for keys in the old half.
func (c *cache) get(key []byte) *sql.Meaning {
	s := c.shard(key)
	s.mu.RLock()
	e, ok := s.recent[string(key)]
	aged := false
	if !ok {
		e, aged = s.old[string(key)]
	}
	s.mu.RUnlock()
	if !e.until.IsZero() && time.Now().After(e.until) {
		return nil
	}
	if aged {
		s.put(key, e)
	}
	return e.meaning
}

// put remembers the meaning of a key, which took size bytes on the wire, for a
// while or, if that is zero, for good.
func (c *cache) put(key []byte, m *sql.Meaning, size int, while time.Duration) {
	e := entry{meaning: m, bytes: 4*size + len(key) + 128}
	if while > 0 {
		e.until = time.Now().Add(while)
	}
	c.shard(key).put(key, e)
}

func (s *shard) put(key []byte, e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.recent[string(key)]; ok {
		s.bytes -= have.bytes
	}
	if s.recent == nil || s.bytes+e.bytes > maxBytes {
		s.recent, s.old = map[string]entry{}, s.recent
		s.bytes = 0
	}
	s.recent[string(key)] = e
	s.bytes += e.bytes
}
