package agentd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesThatOthersCanWriteDecideNothing(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config, policy := file("agentd.yaml", "node: n1\npolicies: [link.yaml]\n"), file("rules", "rules: []\n")
	if err := os.Symlink("rules", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file string
		mode os.FileMode
		want string
	}{
		{policy, 0o664, ""},
		{policy, 0o666, "link.yaml can be written by others (mode 0666)"},
		{policy, 0o600, ""},
		{config, 0o602, "agentd.yaml can be written by others (mode 0602)"},
	} {
		if err := os.Chmod(tt.file, tt.mode); err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if _, err := readPolicy(c); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s, %o: got %q, want %q", tt.file, tt.mode, got, tt.want)
		}
	}
}
