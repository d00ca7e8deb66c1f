package agentd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestAWorkloadIsFoundWhereSystemdPutsIt(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{
		"system.slice/web.service",
		"system.slice/system-agent.slice/agent@1.service",
		"user.slice/user-1000.slice/user@1000.service/app.slice/mine.service",
		"machine/hidden.service",
	} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		w            WorkloadConfig
		want, source string
	}{
		{WorkloadConfig{Unit: "web.service"}, "system.slice/web.service", "unit"},
		{WorkloadConfig{Unit: "agent@1.service"}, "system.slice/system-agent.slice/agent@1.service", "unit"},
		{WorkloadConfig{Unit: "mine.service"}, "user.slice/user-1000.slice/user@1000.service/app.slice/mine.service", "unit"},
		{WorkloadConfig{Unit: "hidden.service"}, "", "unit"},
		{WorkloadConfig{Cgroup: "/machine/x"}, "machine/x", "cgroup"},
	} {
		got, err := tt.w.dir(top)
		if tt.want == "" {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%+v: got %q, %v, want that it does not exist", tt.w, got, err)
			}
			continue
		}
		if want := filepath.Join(top, tt.want); got != want || err != nil {
			t.Errorf("%+v: got %q, %v, want %q", tt.w, got, err, want)
		}
		if got := tt.w.source(); got != tt.source {
			t.Errorf("%+v: got source %q, want %q", tt.w, got, tt.source)
		}
	}
}
