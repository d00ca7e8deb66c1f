// Command agentd captures the connections of chosen workloads on this node,
// judges what they ask of their targets, and records it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"agentd.dev/agentd"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/grammar"
	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/agentd/synthetic"
)

// Exit codes, the same as agentctl's.
const (
	exitFailed = 1
	exitUsage  = 2
)

// An app is what the commands share.
type app struct {
	config  string // path
	started bool   // the arguments were understood
}

func main() {
	if grammar.Main(walk.Read) {
		return
	}
	a := &app{}
	err := a.root().ExecuteContext(context.Background())
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "agentd:", err)
	if errors.Is(err, control.ErrRunning) {
		fmt.Fprintln(os.Stderr, "Ask the one that runs with `agentctl status`, or stop it first.")
	}
	if !a.started {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

// root is `agentd serve` with the other commands below it.
func (a *app) root() *cobra.Command {
	root := a.serve()
	root.Use = "agentd [serve] --config FILE"
	root.Version = agentd.Version
	root.SilenceUsage, root.SilenceErrors = true, true
	root.PersistentFlags().StringVar(&a.config, "config", "/etc/agentd/agentd.yaml", "configuration file")
	root.AddCommand(a.serve(), a.detach(), a.version(), a.caller())
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

func (a *app) detach() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "detach",
		Short: "Remove every trace of agentd from the node",
		Long: `Detach removes what agentd has attached and pinned in the kernel, the cgroups
of runs that are over, and its sockets, so that everything connects as if agentd
had never been. The record and the keys stay.

It works when no agentd runs and when the one that does hangs. It refuses while
one is well: stop that, which detaches too.`,
		Example: "  agentd detach\n  agentd detach --config agentd.yaml --force",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			c, err := agentd.LoadConfig(a.config)
			if err != nil {
				return err
			}
			return agentd.Detach(cmd.Context(), c, cmd.OutOrStdout(), force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "detach even under an agentd that is well")
	return cmd
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  agentd version",
		Args:    cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "agentd", agentd.Version)
		},
	}
}

// caller is the process that agentd verifies its workloads with.
func (a *app) caller() *cobra.Command {
	return &cobra.Command{
		Use:    synthetic.Command,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.started = true
			return synthetic.Main(os.Stdin, os.Stdout)
		},
	}
}
