package lab

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scripts/vm-test.sh runs this where containerd can be built, before tests run
// where it cannot.
func TestTheNewerContainerdIsBuilt(t *testing.T) {
	out, err := exec.Command(filepath.Join(containerd2(t), "containerd"), "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "containerd ") {
		t.Errorf("it said %q (%v), want its name and version", out, err)
	}
}
