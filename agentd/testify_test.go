package agentd_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

// What agentd's own log has of checkpoints finds what the folder cannot show.
func TestCheckpointsLeaveWithTheLogAndFindARollBack(t *testing.T) {
	t.Parallel()
	a := lab.StartAgentd(t, lab.Setup{Policy: "rules: []\n", Config: "record: {heartbeat: 50ms}\n"})
	eventually(t, a, "nothing happens", func(control.Status) bool { return strings.Count(a.Said(), "msg=checkpoint") >= 3 })
	a.Process.Stop(syscall.SIGTERM)
	copied := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(copied, os.DirFS(a.Log)); err != nil {
		t.Fatal(err)
	}

	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	a.Process.Stop(syscall.SIGTERM)
	kept := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(kept, []byte(a.Said()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Ctl(t, "audit", "verify", "--dir", a.Log, "--key", a.Key, "--checkpoint", kept); err != nil {
		t.Errorf("the log as it is: %v\n%s", err, out)
	}
	if out, err := a.Ctl(t, "audit", "verify", "--dir", copied, "--key", a.Key); err != nil {
		t.Errorf("a copy of before, without a checkpoint: %v\n%s", err, out)
	}
	out, err := a.Ctl(t, "audit", "verify", "--dir", copied, "--key", a.Key, "--checkpoint", kept)
	if err == nil || !strings.Contains(out, "log rolled back") {
		t.Errorf("a copy of before: got %v\n%s\nwant it rolled back", err, out)
	}
}
