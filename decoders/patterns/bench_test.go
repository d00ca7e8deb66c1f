package patterns_test

import (
	"crypto/md5"
	"fmt"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/patterns"
)

// Texts of 1 kB without anything to be found.
var (
	prose = strings.Repeat("The quick brown fox jumps over the lazy dog, and it was 7 o'clock on a Sunday; nobody paid more than 12.50 for it. ", 9)[:1024]
	hexed = func() string {
		var b strings.Builder
		for i := range 32 {
			fmt.Fprintf(&b, "%x", md5.Sum([]byte{byte(i), 1}))
		}
		return b.String()
	}()
	texts = []struct{ name, text string }{
		{"prose", prose},
		{"repeated", strings.Repeat("x", 1024)},
		{"hex", hexed},
		{"mixed", strings.Repeat(hexed[:32]+" lorem ipsum dolor, ", 20)[:1024]},
		{"capitals", strings.ToUpper(prose)},
		{"json", strings.Repeat(`{"id": 4711, "name": "Somebody", "at": "2024-05-17T12:30:45Z", "amount": -12.5, "tags": ["a_b", "c-d"]}, `, 10)[:1024]},
	}
)

func BenchmarkFind(b *testing.B) {
	sets := map[string]*patterns.Set{"all": patterns.New(patterns.All...)}
	for _, p := range patterns.All {
		sets[p.Name] = patterns.New(p)
	}
	for _, text := range texts {
		for _, name := range []string{"all", "email", "card", "ssn", "iban", "phone", "ip", "jwt", "key"} {
			b.Run(text.name+"/"+name, func(b *testing.B) {
				row, dst := []byte(text.text), make([]decoders.Span, 0, 8)
				b.SetBytes(int64(len(row)))
				for b.Loop() {
					dst = sets[name].Find(dst[:0], row)
				}
				if len(dst) > 0 {
					b.Fatalf("found %v", dst)
				}
			})
		}
	}
}
