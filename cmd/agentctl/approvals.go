package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/control"
)

func newApprovals(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List what waits for a person, and decide it",
		Long: `Approvals are statements that a rule holds until people have agreed to them. Each
is of one workload, for one target, and for exactly what it says: what is approved
runs once, or as long as the rule lets the same statement run again.

Who decides is whoever runs agentctl, as the kernel says; with sudo, whoever has
logged in. Nobody decides on their own agent's requests.`,
		Example: `  agentctl approvals list --watch
  agentctl approvals show 2fk8x0
  agentctl approvals approve 2fk8x0 --reason "ticket 4711"
  agentctl approvals deny 2fk8x0 --reason "not during the sale"`,
	}
	cmd.AddCommand(newApprovalsList(a), newApprovalsShow(a), newApprovalsApprove(a), newApprovalsDeny(a))
	return group(cmd)
}

func newApprovalsList(a *app) *cobra.Command {
	var f control.ApprovalFilter
	var watch bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what waits for a person, the latest last",
		Long: `List shows what waits for a person, one a line: who asks, where, by which rule,
how long is left, and how many of those who have to agree have.

With --all it shows what is over, too, as long as agentd keeps it, and what became
of it. With --watch it goes on, and prints a line for whatever changes, until
Ctrl-C; with -o json each is one line of JSON.`,
		Example: `  agentctl approvals list
  agentctl approvals list --watch
  agentctl approvals list --all --workload nightly-report -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				if a.format == "yaml" {
					return &exitError{usage, fmt.Errorf("--watch prints lines: give -o table or -o json")}
				}
				ctx, stop := interruptible(cmd.Context())
				defer stop()
				return a.watchApprovals(ctx, f)
			}
			client := a.client()
			defer client.Close()
			list, err := client.Approvals(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.show(list.Approvals, func() { a.writeApprovals(list.Approvals, f.All) })
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.All, "all", false, "show what is over, too")
	flags.BoolVar(&watch, "watch", false, "go on, and show what changes")
	flags.StringVar(&f.Workload, "workload", "", "only what this workload or run asks for")
	flags.StringVar(&f.Target, "target", "", "only what is for this target")
	return cmd
}

// approvalStyles says at a glance what became of a request.
var approvalStyles = map[approvals.State]style{
	approvals.Pending: yellow, approvals.Granted: green, approvals.Used: green, approvals.Denied: red,
}

func (a *app) writeApprovals(list []approvals.Request, all bool) {
	t := &table{head: []string{"ID", "ASKED", "LEFT", "WORKLOAD", "POD", "TARGET", "RULE", "AGREED", "STATEMENT"}}
	if all {
		t.head[2] = "STATE"
	}
	for i := range list {
		r := &list[i]
		third := left(r)
		if all {
			third = outcomeOf(r)
		}
		row := t.add(r.ID, moment(r.Asked), third, r.Workload.Name, podOf(&r.Workload), r.Target, r.Rule, agreed(r), r.Statement)
		row[2].style = approvalStyles[r.State]
	}
	a.write(t)
	if len(list) == 0 {
		a.note("nothing waits for a person")
	}
}

// left is how long a request waits yet.
func left(r *approvals.Request) string { return span(max(0, time.Until(r.Expires))) }

// outcomeOf is the state of a request, with why it ended if that says more.
func outcomeOf(r *approvals.Request) string {
	if r.Reason == "" {
		return r.State.String()
	}
	return r.State.String() + ": " + r.Reason
}

// podOf names the pod that asks, "" if it is none.
func podOf(w *approvals.Workload) string {
	if w.Pod == "" {
		return w.Namespace
	}
	return w.Namespace + "/" + w.Pod
}

// agreed is how many people have agreed, of how many.
func agreed(r *approvals.Request) string {
	yes := 0
	for _, v := range r.Votes {
		if v.Grant {
			yes++
		}
	}
	return fmt.Sprintf("%d of %d", yes, r.Need)
}

// watchApprovals prints what is pending, and then what changes, until ctx ends.
func (a *app) watchApprovals(ctx context.Context, f control.ApprovalFilter) error {
	client := a.client()
	defer client.Close()
	known := map[string]string{}
	past := f.All
	f.All = true // to see what becomes of them
	for {
		list, err := client.Approvals(ctx, f)
		if ctx.Err() != nil {
			return &exitError{code: interrupted}
		}
		if err != nil {
			return err
		}
		now := map[string]string{}
		for i := range list.Approvals {
			r := &list.Approvals[i]
			now[r.ID] = fmt.Sprint(r.State, len(r.Votes), r.Uses, r.Held)
			begun := f.Since == 0
			if known[r.ID] == now[r.ID] || begun && !past && r.State != approvals.Pending {
				continue
			}
			if err := a.writeChange(r); err != nil {
				return err
			}
		}
		known, f.Since = now, list.Version
	}
}

// writeChange prints a line about a request that has changed.
func (a *app) writeChange(r *approvals.Request) error {
	if a.format == "json" {
		return a.line(r)
	}
	when := r.Asked
	if !r.Ended.IsZero() {
		when = r.Ended
	} else if n := len(r.Votes); n > 0 {
		when = r.Votes[n-1].At
	}
	state := outcomeOf(r)
	if r.State == approvals.Pending {
		state += ", " + agreed(r) + ", " + left(r) + " left"
	}
	line := fmt.Sprintf("%s  %s  %s  %s to %s: ", moment(when), r.ID,
		a.paint(approvalStyles[r.State], oneLine(state)), oneLine(r.Workload.Name), oneLine(r.Target))
	text := oneLine(r.Statement)
	if a.outWidth > 0 {
		text = cut(text, max(10, a.outWidth-60))
	}
	_, err := fmt.Fprintln(a.out, line+text)
	return err
}
