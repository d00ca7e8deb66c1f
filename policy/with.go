package policy

import (
	"fmt"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/masks"
	"agentd.dev/policy/document"
)

const oneWay = "want one way: a text, or one of {text: ...}, {keep: 4}, {first: 2, last: 4}, {hash: true}, {digits: true}"

// maxStars bounds what is kept of a value, and the stars for the rest.
const maxStars = 64

// A Key gives the key of hashes and digits. It is asked when a rule needs it.
type Key func() (*masks.Key, error)

// withs are the keys of `with`, each a way of its own but for those that go
// with keep, first and last.
func (r *rule) withs(key Key) []document.Key {
	p := new(masks.Partial)
	partial := func(to *int, least int) func(document.Value) {
		return func(v document.Value) {
			n, ok := v.Int()
			switch {
			case !ok:
			case n < least || n > maxStars:
				v.Problem("%d of a value: from %d to %d", n, least, maxStars)
			default:
				*to = n
			}
			r.way = *p
			r.as = describe(*p)
		}
	}
	keyed := func(name string, way func(*masks.Key) decoders.Way) func(document.Value) {
		return func(v document.Value) {
			if on, ok := v.Bool(); ok && !on {
				v.Problem("%s: false is nothing: leave it out, or write `with: null` for NULL", name)
			}
			r.keyed(v, key, name, way)
		}
	}
	return []document.Key{
		{Name: "text", Read: r.readText},
		{Name: "keep", Read: partial(&p.Last, 1)},
		{Name: "first", Read: partial(&p.First, 1)},
		{Name: "last", Read: partial(&p.Last, 1)},
		{Name: "stars", Read: partial(&p.Stars, 1)},
		{Name: "hash", Read: func(v document.Value) {
			if word, ok := v.Word(); ok && (word == "hex" || word == "base32") {
				r.keyed(v, key, "hash", func(k *masks.Key) decoders.Way { return masks.Hash{Key: k, Base32: word == "base32"} })
				return
			} else if ok && word != "true" && word != "false" {
				v.Problem("%q is no form of a hash: write true, hex or base32", word)
				return
			}
			keyed("hash", func(k *masks.Key) decoders.Way { return masks.Hash{Key: k} })(v)
		}},
		{Name: "digits", Read: keyed("digits", func(k *masks.Key) decoders.Way { return masks.Digits{Key: k} })},
	}
}

// readWith reads what replaces a value: null, a text, or one way.
func (r *rule) readWith(key Key) func(document.Value) {
	return func(v document.Value) {
		switch {
		case v.Null():
		case v.IsList():
			v.Problem(oneWay)
		case v.IsMap():
			var ways []string
			keys := r.withs(key)
			for i := range keys {
				read, name := keys[i].Read, keys[i].Name
				keys[i].Read = func(v document.Value) {
					switch name {
					case "first", "last", "stars":
						name = "keep"
					}
					if len(ways) == 0 || ways[len(ways)-1] != name {
						ways = append(ways, name)
					}
					read(v)
				}
			}
			v.Map(keys)
			if len(ways) != 1 {
				v.Problem(oneWay)
			}
		default:
			r.readText(v)
		}
	}
}

func (r *rule) readText(v document.Value) {
	text, ok := v.Text()
	switch {
	case !ok:
	case text == "":
		v.Problem("an empty text cannot be told from nothing: write `with: null` for NULL")
	case len(text) > maxNote:
		v.Problem("longer than %d bytes", maxNote)
	case strings.ContainsRune(text, 0):
		v.Problem("a zero byte: plain text only")
	default:
		r.way, r.as = masks.Text(text), text
	}
}

// keyed makes a way that needs the key. Where nobody gives one, as when a
// policy is only checked, no value has a replacement.
func (r *rule) keyed(v document.Value, key Key, name string, way func(*masks.Key) decoders.Way) {
	var k *masks.Key
	if key != nil {
		var err error
		if k, err = key(); err != nil {
			v.Problem("%s needs the key of masks: %v", name, err)
			return
		}
	}
	r.way, r.as = way(k), name
	if h, ok := r.way.(masks.Hash); ok && h.Base32 {
		r.as += " in base32"
	}
}

// describe says what records call a way that keeps something.
func describe(p masks.Partial) string {
	var parts []string
	if p.First > 0 {
		parts = append(parts, fmt.Sprintf("first %d", p.First))
	}
	if p.Last > 0 {
		parts = append(parts, fmt.Sprintf("last %d", p.Last))
	}
	if p.Stars > 0 {
		parts = append(parts, fmt.Sprintf("%d stars", p.Stars))
	}
	return strings.Join(parts, ", ")
}
