package sinks

import (
	"encoding/json"
	"fmt"
)

// Known is what a sink remembers of records that later ones refer to, within
// bounds: of what it has forgotten, receivers have the records themselves.
type known struct {
	sessions cache[*Session]
	texts    cache[string] // of prepares, by session and seq
}

const (
	maxSessions   = 8192    // remembered, twice at most
	maxTexts      = 4 << 20 // bytes of texts, twice at most
	maxRemembered = 16 << 10
)

// learn remembers what a record says of its session, and returns that and the text
// of the statement that the record is of.
func (k *known) learn(text []byte, r *Fields) (*Session, string) {
	if r.ID == "" {
		return nil, ""
	}
	s := k.sessions.keep(r.ID, maxSessions)
	switch r.Type {
	case "open":
		s = new(Session)
		if json.Unmarshal(text, s) == nil {
			k.sessions.put(r.ID, s, 1, maxSessions)
		}
	case "login":
		if s == nil {
			break
		}
		now := *s // records that were read before have the other
		if json.Unmarshal(text, &now) == nil {
			now.Claims = s.Claims
			s = &now
			k.sessions.put(r.ID, s, 1, maxSessions)
		}
	case "close", "interrupted":
		k.sessions.remove(r.ID)
	case "prepare":
		if len(r.Text) <= maxRemembered {
			k.texts.put(prepared(r.ID, r.Seq), r.Text, len(r.Text)+100, maxTexts)
		}
	}
	if r.Text == "" && r.Ref != 0 {
		return s, k.texts.get(prepared(r.ID, r.Ref))
	}
	return s, r.Text
}

func prepared(session string, seq uint64) string { return fmt.Sprint(session, " ", seq) }

// A cache forgets what was not asked for longest, about half at a time. The zero
// value is empty.
type cache[V any] struct {
	young, old map[string]V
	size       int // of what is young
}

func (c *cache[V]) get(key string) V {
	if v, ok := c.young[key]; ok {
		return v
	}
	return c.old[key]
}

// keep is get, and has what is asked for forgotten last.
func (c *cache[V]) keep(key string, most int) V {
	if v, ok := c.old[key]; ok {
		delete(c.old, key)
		c.put(key, v, 1, most)
	}
	return c.get(key)
}

// put keeps v, which takes size of most.
func (c *cache[V]) put(key string, v V, size, most int) {
	if c.size+size > most {
		c.old, c.young, c.size = c.young, nil, 0
	}
	if c.young == nil {
		c.young = map[string]V{}
	}
	c.young[key] = v
	c.size += size
}

func (c *cache[V]) remove(key string) {
	if _, ok := c.young[key]; ok {
		delete(c.young, key)
		c.size = len(c.young)
	}
	delete(c.old, key)
}

// fill puts what list has listed.
func (c *cache[V]) fill(all map[string]V) {
	c.old = all
}

// list is all of it.
func (c *cache[V]) list() map[string]V {
	all := map[string]V{}
	for key, v := range c.old {
		all[key] = v
	}
	for key, v := range c.young {
		all[key] = v
	}
	return all
}
