package sql

// Bounds of each of a cache's two halves.
const (
	maxEntries = 256
	maxBytes   = 256 << 10
	maxEntry   = 32 << 10 // longer keys are not remembered
)

// A cache remembers the facts of recent keys. When the recent half is full it
// becomes the old half, and what was in that is forgotten unless it is used
// again first.
type cache struct {
	recent, old map[string]*Facts
	bytes       int
}

// get returns the facts of a key, nil if they are not remembered. It does not
// allocate for keys in the recent half.
func (c *cache) get(key []byte) *Facts {
	if f := c.recent[string(key)]; f != nil {
		return f
	}
	f := c.old[string(key)]
	if f != nil {
		c.put(key, f)
	}
	return f
}

func (c *cache) put(key []byte, f *Facts) {
	if len(key) > maxEntry {
		return
	}
	if c.recent == nil || len(c.recent) >= maxEntries || c.bytes+len(key) > maxBytes {
		c.recent, c.old = make(map[string]*Facts), c.recent
		c.bytes = 0
	}
	c.recent[string(key)] = f
	c.bytes += len(key)
}
