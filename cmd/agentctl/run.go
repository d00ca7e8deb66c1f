package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// What a shell answers for commands it cannot start.
const (
	notExecutable = 126
	notThere      = 127
)

// endTimeout is how long the daemon may take to hear that a run ended.
const endTimeout = 5 * time.Second

func newRun(a *app) *cobra.Command {
	var name, asUser string
	cmd := &cobra.Command{
		Use:   "run [--name NAME] [--user USER] -- COMMAND [ARG...]",
		Short: "Start a program whose connections agentd captures",
		Long: `Run starts COMMAND with its connections captured, and so those of everything
it starts: judged by the policy and recorded, under the run's name. The program
itself sees no difference: same terminal, folder, environment and network
namespace, and addresses as ever.

COMMAND is started inside a cgroup that agentd made for it and captures
already; there is no moment at which it runs outside. If agentd does not
answer, or cannot capture, nothing is started.

Ctrl-C goes to COMMAND alone; SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 are passed
on to it. run exits with COMMAND's code, with 128 and the signal's number if one
ended it, with 127 if there is no such command, and with 126 if it cannot be
executed. Processes that COMMAND leaves behind stay captured until they end;
so does everything if agentctl itself is killed. agentd then tidies up.

--user starts COMMAND as that user (a name or a uid), with the user's groups and
HOME, USER and LOGNAME set. A uid without an account gets the gid of the same
number and no other group.`,
		Example: `  agentctl run -- psql -h db.internal orders
  agentctl run --name nightly-report --user reports -- python3 report.py`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// An empty variable in a script must not mean root.
			for _, flag := range []string{"name", "user"} {
				if f := cmd.Flags().Lookup(flag); f.Changed && f.Value.String() == "" {
					return &exitError{usage, fmt.Errorf("--%s is empty: give one, or leave --%s out", flag, flag)}
				}
			}
			p, err := findProgram(args, asUser)
			if err != nil {
				return err
			}
			if name == "" {
				name = runName(args[0])
			}
			return a.run(cmd.Context(), name, p)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&name, "name", "", "what sessions call the run (default: COMMAND's own name)")
	cmd.Flags().StringVar(&asUser, "user", "", "start COMMAND as this user, by name or uid")
	return cmd
}

// runName makes a run's name of a command's: what may not stand in one
// becomes a dash.
func runName(command string) string {
	name := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, filepath.Base(command))
	name = strings.TrimLeft(name, "._-")
	if name == "" {
		return "run"
	}
	return name[:min(len(name), 64)]
}

// findProgram returns what args name, to be run as a user if one is given,
// ready to be started in a cgroup.
func findProgram(args []string, asUser string) (*exec.Cmd, error) {
	path, err := exec.LookPath(args[0])
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, &exitError{notThere, fmt.Errorf("there is no command %s", args[0])}
	case err != nil:
		return nil, &exitError{notExecutable, fmt.Errorf("cannot execute %s: %v", args[0], errors.Unwrap(err))}
	}
	p := &exec.Cmd{
		Path: path, Args: args,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{UseCgroupFD: true},
	}
	if asUser != "" {
		who, err := findAccount(asUser)
		if err != nil {
			return nil, err
		}
		p.SysProcAttr.Credential = who.credential
		p.Env = who.environ(os.Environ())
	}
	return p, nil
}

// run runs p captured. Its error carries p's exit code.
func (a *app) run(ctx context.Context, name string, p *exec.Cmd) error {
	client := a.client()
	defer client.Close()
	run, err := client.StartRun(ctx, name)
	if err != nil {
		return err
	}
	code, err := runIn(run.Cgroup, p)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if e := client.EndRun(ending, run.ID); e != nil {
		a.note("agentd did not hear that the run is over, and will find out by itself: %v", e)
	}
	if err == nil && code == done {
		return nil
	}
	return &exitError{code: code, err: err}
}

// runIn starts p inside a cgroup, waits for it and returns its exit code. The
// error says why it could not be started.
func runIn(cgroup string, p *exec.Cmd) (int, error) {
	dir, err := openCgroup(cgroup)
	if err != nil {
		return no, err
	}
	defer dir.Close()
	p.SysProcAttr.CgroupFD = int(dir.Fd())

	signals := catch()
	defer signal.Stop(signals)
	if err := p.Start(); err != nil {
		return notExecutable, fmt.Errorf("start %s: %v", p.Path, errors.Unwrap(err))
	}
	ended := make(chan struct{})
	go func() {
		p.Wait() // its error is the exit code, read below
		close(ended)
	}()
	for {
		select {
		case sig := <-signals:
			// The terminal sends these two to the program itself.
			if sig != unix.SIGINT && sig != unix.SIGQUIT {
				p.Process.Signal(sig) // it may have ended just now
			}
		case <-ended:
			return exitCode(p.ProcessState), nil
		}
	}
}

// catch returns the signals that run takes over, but those which agentctl was
// started to ignore, as under nohup: the program inherits that. (Go keeps such
// wishes for SIGHUP and SIGINT alone.)
//
// They are caught and not ignored, because the program would inherit that too.
func catch() chan os.Signal {
	signals := make(chan os.Signal, 16)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	return signals
}

// openCgroup opens the folder of a cgroup that this process may start others
// in.
func openCgroup(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the run's cgroup: %w", err)
	}
	var where unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &where); err != nil || where.Type != unix.CGROUP2_SUPER_MAGIC {
		dir.Close()
		return nil, fmt.Errorf("%s, where agentd wants the program, is no cgroup here: run agentctl in the host's mount namespace", path)
	}
	if err := unix.Faccessat(int(dir.Fd()), "cgroup.procs", unix.W_OK, unix.AT_EACCESS); err != nil {
		dir.Close()
		return nil, fmt.Errorf("put a program into the run's cgroup: %w", fs.ErrPermission)
	}
	return dir, nil
}

// exitCode is what a shell would say of a process that ended.
func exitCode(state *os.ProcessState) int {
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
