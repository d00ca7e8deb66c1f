package agentd_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"agentd.dev/agentd"
	"agentd.dev/policy/document"
)

// Any file is a configuration or is refused with a place.
func FuzzLoadConfig(f *testing.F) {
	example, err := os.ReadFile("../deploy/examples/agentd.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, seed := range []string{
		"", "node: x", "targets: [{name: a, address: '[fd00::/8]:1', protocol: postgres, labels: {a: b}}]",
		"record: {segment: 1e9GB, checkpoint: -1s}", "capture: {workloads: [{name: a, unit: b.service}, {}]}",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "agentd.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := agentd.LoadConfig(path)
		var problems document.Errors
		switch {
		case err != nil && (!errors.As(err, &problems) || len(problems) == 0):
			t.Fatalf("got %T %v, want Errors", err, err)
		case err == nil && (c.Node == "" || c.Record.Segment <= 0 || c.Limits.Statement <= 0):
			t.Fatalf("got %+v, want it whole", c)
		}
	})
}
