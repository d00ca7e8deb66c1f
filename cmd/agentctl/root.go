package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
)

// formats are what -o accepts.
var formats = []string{"table", "json", "yaml"}

// newRoot returns the whole command tree.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "agentctl",
		Short: "Ask and tell the agentd of this node",
		Long: `agentctl shows what agentd on this node captured, decided and recorded, decides
what waits for a person, and starts programs whose connections it captures.

Commands that are nouns only read, but for approvals. sessions and audit also work on the log
folder itself, when agentd is down or the folder was copied from elsewhere.

Exit codes: 0 done; 1 it could not be done, or the answer is no (verification
failed, a policy has errors); 2 wrong usage. run exits with its command's code.`,
		Example: `  agentctl run -- psql -h db.internal orders
  agentctl sessions list --denied --since 1h
  agentctl audit verify`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains(formats, a.format) {
				return fmt.Errorf("unknown output format %q: give -o %s", a.format, strings.Join(formats, ", -o "))
			}
			a.begun = true
			return nil
		},
	}
	root.SetOut(a.out)
	root.SetErr(a.errs)
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", cmp.Or(os.Getenv("AGENTD_SOCKET"), control.DefaultSocket), "agentd's socket (env AGENTD_SOCKET)")
	flags.StringVarP(&a.format, "output", "o", "table", "table, json or yaml")
	identityFlag(a, root)
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		newRun(a),
		newDoctor(a), newStatus(a), newWorkloads(a), newConnections(a), newTargets(a),
		newSessions(a), newApprovals(a), newPolicy(a), newAudit(a), newIndex(a), newCA(a),
		newVersion(a),
	)
	group(root)
	return root
}

// group makes a command that only holds others insist on one of them.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs // so that RunE says what is wrong
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			cmd.Help()
			return &exitError{code: usage}
		}
		what := fmt.Sprintf("%s has no %q, but %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			what += fmt.Sprintf(": did you mean %s?", near[0])
		}
		return &exitError{code: usage, err: errors.New(what)}
	}
	return cmd
}
