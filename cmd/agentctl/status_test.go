package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestStatusTellsTheAgentdOfThisContainerFromAnother(t *testing.T) {
	if err := besideUs(os.Getpid()); err != nil {
		t.Errorf("a process in our own cgroup: %v, want no error", err)
	}
	root, err := cgroupRoot()
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.MkdirTemp(root, "agentctl-test-*")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := besideUs(cmd.Process.Pid); err == nil {
		t.Errorf("a process in another cgroup: no error, want one")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // killed
	if err := removeCgroups(other); err != nil {
		t.Error(err)
	}
}
