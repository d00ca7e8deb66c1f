package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"agentd.dev/agentd"
)

func (a *app) serve() *cobra.Command {
	var (
		level slog.LevelVar
		stay  bool
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Capture, judge and record what the agents on this node do",
		Long: `agentd redirects the connections of chosen workloads into itself, understands
their protocol, asks the policy about every statement, and records sessions
that can be replayed and cannot be altered unnoticed.

It needs root, a kernel with cgroup v2 and BTF, and a configuration file.

If an agentd runs already, the new one takes over from it, and the sessions of
the old one go on there until they end. SIGUSR2 starts agentd's own program anew
in this way. SIGTERM drains: sessions may finish, for as long as limits.drain
says. An agentd that was taken over ends when its sessions have; SIGTERM does not
cut them, a second one does.`,
		Example: "  agentd --config /etc/agentd/agentd.yaml\n  agentd serve --config agentd.yaml --log-level debug",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c, err := agentd.LoadConfig(a.config)
			if err != nil {
				return err
			}
			c.Stay = stay
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &level}))
			go upgrades(ctx, log, os.Environ()) // before credentials are taken out of it
			return agentd.Run(ctx, c, log)
		},
	}
	cmd.Flags().TextVar(&level, "log-level", &level, "least level that is logged: debug, info, warn or error")
	cmd.Flags().BoolVar(&stay, "stay", false, "when taken over, stay until SIGTERM: where what ends is started again, as in Kubernetes")
	return cmd
}

// upgrades starts the program anew, as it is on the disk then, whenever SIGUSR2
// asks for that. The new process takes over from this one by itself, and gets
// the environment that this one was started with.
func upgrades(ctx context.Context, log *slog.Logger, environ []string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		if err := upgrade(environ); err != nil {
			log.Error("upgrade: going on as before", "error", err)
		}
	}
}

// upgrade returns nil once the new process has ended: perhaps after this one.
func upgrade(environ []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Env = environ
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
