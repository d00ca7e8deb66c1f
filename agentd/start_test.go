package agentd_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/lab"
)

func TestStartsWithinASecond(t *testing.T) {
	server := lab.Postgres(t)
	agentd := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	best := time.Hour // of five: a busy machine may be slow, a slow daemon always is
	for range 5 {
		start := time.Now()
		if err := agentd.Start(t); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
		agentd.Process.Stop(unix.SIGTERM)
	}
	if most := time.Second * time.Duration(lab.Slower(t)); best > most {
		t.Errorf("agentd was ready after %v, want less than %v", best, most)
	}
}

// TestWhatIsMissingIsNamed starts the daemon where it cannot work, and expects
// an error that says what to do.
func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, a *lab.Agentd)
		wrap  []string
		want  []string
	}{
		{
			name:  "no capabilities",
			wrap:  []string{"setpriv", "--bounding-set=-bpf,-sys_admin,-net_admin", "--inh-caps=-bpf,-sys_admin,-net_admin"},
			spoil: func(*testing.T, *lab.Agentd) {},
			want:  []string{"CAP_BPF"},
		},
		{
			name: "no cgroup v2",
			wrap: []string{"unshare", "--mount", "sh", "-c", `umount -a -t cgroup2; exec "$@"`, "sh"},
			spoil: func(t *testing.T, a *lab.Agentd) {
				edit(t, a, func(config string) string { return strings.ReplaceAll(config, "root: "+a.Root.Path+",", "") })
			},
			want: []string{"cgroup"},
		},
		{
			name:  "a kernel that does not describe its types",
			wrap:  []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /sys/kernel/btf; exec "$@"`, "sh"},
			spoil: func(*testing.T, *lab.Agentd) {},
			want:  []string{"CONFIG_DEBUG_INFO_BTF=y"},
		},
		{
			name: "pins on no bpffs",
			spoil: func(t *testing.T, a *lab.Agentd) {
				edit(t, a, func(config string) string {
					return regexp.MustCompile(`pins: [^}]+`).ReplaceAllString(config, "pins: "+a.Dir+"/elsewhere")
				})
			},
			want: []string{"mount -t bpf"},
		},
		{
			name: "a policy with a typo",
			spoil: func(t *testing.T, a *lab.Agentd) {
				write(t, filepath.Join(a.Dir, "policies", "policy.yaml"), "rules:\n  - name: x\n    on: request\n    when: sql.verb == 1\n    do: deny\n    message: no\n")
			},
			want: []string{"policy.yaml:4:", "sql.verb"},
		},
		{
			name: "a configuration with a typo",
			spoil: func(t *testing.T, a *lab.Agentd) {
				edit(t, a, func(config string) string { return config + "limitz: {}\n" })
			},
			want: []string{"agentd.yaml:", "limitz", "limits"},
		},
		{
			name: "a configuration that cannot be read",
			spoil: func(t *testing.T, a *lab.Agentd) {
				path := filepath.Join(a.Dir, "agentd.yaml")
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"agentd.yaml", "is a directory"},
		},
		{
			name: "a configuration that is not there",
			spoil: func(t *testing.T, a *lab.Agentd) {
				if err := os.Remove(filepath.Join(a.Dir, "agentd.yaml")); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"agentd.yaml", "no such file"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
			tt.spoil(t, a)
			cmd := exec.Command("timeout", append(append([]string{"20"}, tt.wrap...), a.Program(), "--config", filepath.Join(a.Dir, "agentd.yaml"))...)
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("agentd ended with %v, want exit status 1", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("agentd said nothing of %q:\n%s", want, out)
				}
			}
		})
	}
}

func TestFullDiskStopsSessionsInTheirOwnWords(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	agentd := lab.StartAgentd(t, lab.Setup{
		Policy: lawful, Target: server, State: filepath.Join(disk, "state"),
		Config: "record: {floor: 64KiB, segment: 1MiB}\n",
	})
	statements := []string{"select 'before';"}
	for i := range 400 { // of letters by chance, as what has ended is compressed
		filler := make([]byte, 15_000)
		_, _ = rand.Read(filler)
		statements = append(statements, fmt.Sprintf("select '%x', %d limit 0;", filler, i%10))
	}
	statements = append(statements, "select 'evil-marker';")
	out, err := agentd.Captured(t, psql(server, statements...)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "before") || !strings.Contains(string(out), "cannot record") {
		t.Errorf("psql ended with %v and said %.500q, want to be told that recording failed", err, out)
	}
	if strings.Contains(server.Log(), "evil-marker") {
		t.Error("a statement reached the server although the disk was full")
	}
	if out, err := agentd.Captured(t, psql(server, "select 'evil-marker';")).CombinedOutput(); err == nil || !strings.Contains(string(out), "must stay free") && !strings.Contains(string(out), "cannot record") {
		t.Errorf("on a full disk psql ended with %v and said %s, want to be told why no session begins", err, out)
	}
	if out, err := agentd.Ctl(t, "status"); err == nil || !strings.Contains(out, "recording") {
		t.Errorf("agentctl status on a full disk: %v\n%s", err, out)
	}
	if out, err := agentd.Ctl(t, "audit", "verify", "--dir", agentd.Log, "--key", agentd.Key); err != nil {
		t.Errorf("audit verify on a full disk: %v\n%s", err, out)
	}
}

func edit(t *testing.T, a *lab.Agentd, change func(string) string) {
	t.Helper()
	path := filepath.Join(a.Dir, "agentd.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, change(string(text)))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
