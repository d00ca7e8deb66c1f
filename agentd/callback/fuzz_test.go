package callback

import (
	"testing"
	"time"
)

// No token but those that were made opens anything.
func FuzzALink(f *testing.F) {
	l := NewLinks()
	made := l.token("0123456789abcdef", "alice", time.Now().Add(time.Hour))
	f.Add(made, "0123456789abcdef", "bob")
	f.Add(made[:20], "0123456789abcdef", "alice")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, token, id, as string) {
		if l.check(token, id, as) == nil && (token != made || id != "0123456789abcdef" || as != "alice") {
			t.Errorf("%q opens %q as %q", token, id, as)
		}
	})
}
