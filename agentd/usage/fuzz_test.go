package usage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Whatever a file says, nothing but what can be is known of it.
func FuzzAFileOfCounts(f *testing.F) {
	f.Add([]byte(`{"version":1,"profiles":[{"who":"w","since":5,"targets":{"orders":7}}],"accounts":[{"who":"w","target":"orders","windows":[{"360000000":[1,2,3,4,5]},{},{"-1":[1,1,1,1,1]}],"hourIs":9223372036854775807,"hours":[[1,2,3,4,5]]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k := new(keptStore)
		if json.Unmarshal(text, k) != nil {
			return
		}
		s := newScene(t)
		s.merge(k)
		v := s.View("w", "orders", "")
		v.Through(nil)
		for _, span := range spans {
			n, err := v.Counter("usage."+span.name+".statements", nil)
			if got, _ := n.(int64); err == nil && got < 1 {
				t.Errorf("%d statements in a %s, want at least the one that was let through", got, span.name)
			}
		}
		s.again(t)
	})
}

func FuzzAFileThatWasChanged(f *testing.F) {
	f.Add([]byte("{}\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "usage.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := read(file); err == nil && k.Version != version {
			t.Errorf("read a file of version %d", k.Version)
		}
	})
}
