package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A job is the command to run, as vm.sh wrote it: files whose strings end with
// a NUL byte each.
type job struct {
	args, env []string
	dir       string
	keep      []string // folders of the host's that stay visible
	console   bool     // with a terminal
}

func readJob() (*job, error) {
	const dir = "/job"
	if err := (mount{dir: dir, kind: "9p", source: "job", options: host, flags: unix.MS_RDONLY}).do(); err != nil {
		return nil, err
	}
	var j job
	var cwd []string
	for name, to := range map[string]*[]string{"args": &j.args, "env": &j.env, "dir": &cwd, "keep": &j.keep} {
		var err error
		if *to, err = words(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	if len(j.args) == 0 || len(cwd) != 1 {
		return nil, errors.New("the job folder holds no command")
	}
	j.dir = cwd[0]
	_, err := os.Stat("/dev/hvc0")
	j.console = err == nil
	return &j, unix.Unmount(dir, 0)
}

func words(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), nil
}

// run runs the command in a cgroup of its own, as systemd would, and returns its
// exit status as a shell would give it. Like any init it also waits for
// processes that their parents left behind.
func (j *job) run() (int, error) {
	cmd, err := j.command()
	if err != nil {
		return 0, err
	}
	const scope = "/sys/fs/cgroup/vm.scope"
	if err := os.Mkdir(scope, 0o755); err != nil {
		return 0, err
	}
	group, err := os.Open(scope)
	if err != nil {
		return 0, err
	}
	defer group.Close()
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(group.Fd())
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(cmd.Stderr, "vm: %v\n", err)
		return 127, nil
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == cmd.Process.Pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == cmd.Process.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// command prepares the command: on the terminal if there is one, else with its
// output to the port for it.
func (j *job) command() (*exec.Cmd, error) {
	// exec looks the command up in the PATH of this process.
	for _, line := range j.env {
		if path, ok := strings.CutPrefix(line, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return nil, err
			}
		}
	}
	cmd := exec.Command(j.args[0], j.args[1:]...)
	cmd.Env, cmd.Dir = j.env, j.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if j.console {
		tty, err := os.OpenFile("/dev/hvc0", os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr.Setctty = true
		return cmd, nil
	}
	out, err := port("out")
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, nil
}
