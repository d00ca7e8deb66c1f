// Command agentd captures the connections of chosen workloads on this node,
// judges what they ask of their targets, and records it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"agentd.dev/agentd"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/synthetic"
)

// Exit codes, the same as agentctl's.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	var (
		config string
		level  slog.LevelVar
	)
	started := false
	root := &cobra.Command{
		Use:   "agentd --config FILE",
		Short: "Capture, judge and record what the agents on this node do",
		Long: `agentd redirects the connections of chosen workloads into itself, understands
their protocol, asks the policy about every statement, and records sessions
that can be replayed and cannot be altered unnoticed.

It needs root, a kernel with cgroup v2 and BTF, and a configuration file.
SIGTERM drains: sessions may finish, for as long as limits.drain says.`,
		Example:       "  agentd --config /etc/agentd/agentd.yaml\n  agentd --config agentd.yaml --log-level debug",
		Version:       agentd.Version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			started = true
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c, err := agentd.LoadConfig(config)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &level}))
			return agentd.Run(ctx, c, log)
		},
	}
	root.Flags().StringVar(&config, "config", "/etc/agentd/agentd.yaml", "configuration file")
	root.Flags().TextVar(&level, "log-level", &level, "least level that is logged: debug, info, warn or error")
	root.AddCommand(&cobra.Command{
		Use:    synthetic.Command,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			started = true
			return synthetic.Main(os.Stdin, os.Stdout)
		},
	})
	if err := root.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "agentd:", err)
		if errors.Is(err, control.ErrRunning) {
			fmt.Fprintln(os.Stderr, "Ask the one that runs with `agentctl status`, or stop it first.")
		}
		if !started {
			os.Exit(exitUsage)
		}
		os.Exit(exitFailed)
	}
}
