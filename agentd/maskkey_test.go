package agentd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/masks"
)

func TestTheMaskKeyIsMadeOnceForItsOwnerAlone(t *testing.T) {
	c := &Config{State: filepath.Join(t.TempDir(), "state")}
	var hashes []string
	for range 2 {
		key, err := c.maskKey()
		if err != nil {
			t.Fatal(err)
		}
		hash, _ := masks.Hash{Key: key}.Append(nil, []byte("ada"))
		hashes = append(hashes, string(hash))
	}
	if hashes[0] != hashes[1] {
		t.Errorf("got the hashes %s, want the same twice", hashes)
	}
	names, _ := os.ReadDir(filepath.Join(c.State, "keys"))
	info, err := os.Stat(filepath.Join(c.State, "keys", "mask.key"))
	if err != nil || info.Mode().Perm() != 0o600 || len(names) != 1 {
		t.Errorf("got %v, %v and %d files, want one of mode 600", info, err, len(names))
	}
}

func TestAMaskKeyThatOthersMayKnowIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	c := &Config{MaskKey: name}
	for _, tt := range []struct {
		content string
		mode    os.FileMode
		want    string
	}{
		{"", 0, "there is no file"},
		{"0123456789abcdef\n", 0o644, "chmod 600"},
		{"0123456789abcde\n", 0o600, "at least 16"},
		{strings.Repeat("x", 5000), 0o600, "cannot be a key"},
		{"0123456789abcdef\n", 0o600, ""},
	} {
		if tt.mode != 0 {
			if err := os.WriteFile(name, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(name, tt.mode); err != nil {
				t.Fatal(err)
			}
		}
		switch _, err := c.maskKey(); {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%.20q, mode %o: got %v, want %q", tt.content, tt.mode, err, tt.want)
		}
	}
}

// A session that is searched for less than new rules say cannot go on by them.
func TestNewSearchesEndSessionsThatWereNotSearchedForThem(t *testing.T) {
	for _, tt := range []struct {
		had, want []string
		sees      bool
	}{
		{nil, nil, true},
		{[]string{"a", "b"}, []string{"b"}, true},
		{nil, []string{"a"}, false},
		{[]string{"a"}, []string{"a", "b"}, false},
	} {
		if got := sees(decoders.Want{Searches: tt.had}, decoders.Want{Searches: tt.want}); got != tt.sees {
			t.Errorf("searched for %q, then %q: got %v, want %v", tt.had, tt.want, got, tt.sees)
		}
	}
}
