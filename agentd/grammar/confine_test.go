package grammar_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// children returns the processes of a pool, which are this process's only ones.
func children(t *testing.T) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// status returns the fields of a thread's status in /proc.
func status(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

func TestAWorkerHasNothingToLose(t *testing.T) {
	secret, err := os.Open(os.DevNull) // a descriptor that must not be inherited
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	open(t)
	pids := children(t)
	if len(pids) != 2 {
		t.Fatalf("there are %d workers, want 2", len(pids))
	}
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("no threads: %v", err)
		}
		for _, thread := range threads {
			got := status(t, thread)
			for name, want := range map[string]string{
				"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "",
				"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
				"CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
				"NoNewPrivs": "1", "Seccomp": "2",
			} {
				if got[name] != want {
					t.Errorf("%s: %s is %q, want %q", thread, name, got[name], want)
				}
			}
		}
		if got := read(t, pid, "environ"); got != "GOMAXPROCS=1\x00GODEBUG=containermaxprocs=0\x00GOTRACEBACK=none\x00" {
			t.Errorf("its environment is %q", got)
		}
		if got := strings.TrimSpace(read(t, pid, "oom_score_adj")); got != "1000" {
			t.Errorf("its oom_score_adj is %s, want 1000", got)
		}
		if got, ours := link(t, pid, "ns/net"), link(t, os.Getpid(), "ns/net"); got == ours {
			t.Errorf("it is in the network namespace of agentd, %s", ours)
		}
		if got := link(t, pid, "cwd"); got != "/" {
			t.Errorf("its folder is %s, want /", got)
		}
		descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range descriptors {
			switch to := link(t, pid, "fd/"+d.Name()); {
			case d.Name() == "0" && strings.HasPrefix(to, "socket:"):
			case to == os.DevNull && (d.Name() == "1" || d.Name() == "2"):
			case strings.HasPrefix(to, "anon_inode:[event"): // the Go runtime's
			default:
				t.Errorf("it holds descriptor %s, %s", d.Name(), to)
			}
		}
		for line := range strings.Lines(read(t, pid, "limits")) {
			for limit, want := range map[string]string{"Max core file size": "0", "Max file size": "0", "Max open files": "16"} {
				if rest, ok := strings.CutPrefix(line, limit); ok && strings.Fields(rest)[1] != want {
					t.Errorf("%q, want %s", line, want)
				}
			}
		}
	}
}

func read(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func link(t *testing.T, pid int, name string) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return to
}
