package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/control"
)

func newApprovalsApprove(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "approve ID [--reason TEXT]",
		Short: "Agree to what waits",
		Long: `Approve prints what it agrees to and lets it through, at once, if as many
people have agreed as the rule asks for. Your name, the time, the reason and what
you were shown are recorded before.

It exits with 1 if it has no effect: the request is over, or not yours to decide.`,
		Example: `  agentctl approvals approve 2fk8x0
  agentctl approvals approve 2fk8x0 --reason "ticket 4711"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.decide(cmd.Context(), args[0], reason, (*control.Client).Approve)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func newApprovalsDeny(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "deny ID --reason TEXT",
		Short: "Refuse what waits",
		Long: `Deny refuses a request, whoever has agreed to it before, and tells the agent the
reason. The same statement of the same workload is refused with it, without anybody
being asked, for as long as the request could have waited.

It exits with 1 if it has no effect: the request is over, or not yours to decide.`,
		Example: `  agentctl approvals deny 2fk8x0 --reason "not during the sale"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return &exitError{usage, errors.New("say why, with --reason: the agent is told")}
			}
			return a.decide(cmd.Context(), args[0], reason, (*control.Client).Deny)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: the agent is told, and it is recorded")
	return cmd
}

// decide shows a request and says to it what say does.
func (a *app) decide(ctx context.Context, id, reason string,
	say func(*control.Client, context.Context, string, control.Decision) (approvals.Request, error),
) error {
	client := a.client()
	defer client.Close()
	r, err := client.Approval(ctx, id)
	if err != nil {
		return err
	}
	after, err := say(client, ctx, r.ID, control.Decision{Reason: reason, Shown: r.Shown})
	if err != nil {
		return err
	}
	return a.show(after, func() {
		a.writeRequest(&after)
		fmt.Fprintln(a.out)
		fmt.Fprintln(a.out, decision(&after))
	})
}

// decision says what came of a vote.
func decision(r *approvals.Request) string {
	switch {
	case r.State == approvals.Pending:
		return "Recorded: " + agreed(r) + " have agreed."
	case r.State == approvals.Denied:
		return "Denied."
	case r.For > 0:
		return "Approved, for " + r.For.String() + "."
	default:
		return "Approved, for one use."
	}
}
