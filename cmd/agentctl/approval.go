package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/control"
)

func newApprovalsShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show what somebody is asked to approve",
		Long: `Show prints who asks, what exactly would be done and where, which rule holds it
and why, who has said what, and the last statements of the session before it.
Values that masks hide are hidden here, too. The beginning of an ID is enough if
no other request's begins so.`,
		Example: "  agentctl approvals show 2fk8x0\n  agentctl approvals show 2fk8x0 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			r, err := client.Approval(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(r, func() { a.writeApproval(&r) })
		},
	}
}

// briefly is how much is shown of each statement before a request, in columns.
const briefly = 300

func (a *app) writeApproval(r *control.Approval) {
	a.writeRequest(&r.Request)
	fmt.Fprintln(a.out)
	switch {
	case len(r.Before) > 0 && r.Earlier > 0:
		fmt.Fprintf(a.out, "The session before it, but for the first %s (agentctl sessions show %s):\n\n", plural(r.Earlier, "entry"), r.Session)
	case len(r.Before) > 0:
		fmt.Fprintf(a.out, "The session before it (agentctl sessions show %s):\n\n", r.Session)
	default:
		fmt.Fprintf(a.out, "The session %s has nothing before it.\n", r.Session)
	}
	t := &table{head: []string{"SEQ", "AT", "KIND", "VERDICT", "ROWS", "RESULT", "STATEMENT"}}
	for _, e := range r.Before {
		rows := ""
		if e.Done != nil && !e.Done.Skipped {
			rows = number(e.Done.Rows)
		}
		verdict := verdict(e).Verdict
		row := t.add(number(int64(e.Seq)), moment(e.Time), e.Kind, verdict, rows, outcome(e), cut(oneLine(statement(e)), briefly))
		row[3].style = verdictStyles[verdict]
	}
	if len(r.Before) > 0 {
		a.write(t)
	}
	if r.Damage != "" {
		a.note("some of the session may be missing: %s", r.Damage)
	}
}

// writeRequest prints all that is known of a request itself.
func (a *app) writeRequest(r *approvals.Request) {
	w := &r.Workload
	a.fact("request", bold, "%s", r.ID)
	a.fact("state", approvalStyles[r.State], "%s", outcomeOf(r))
	switch r.State {
	case approvals.Pending:
		a.fact("asked", plain, "%s, %s left, %s", moment(r.Asked), left(r), waits(r))
	case approvals.Granted:
		a.fact("asked", plain, "%s, granted until %s", moment(r.Asked), moment(r.Until))
	default:
		a.fact("asked", plain, "%s, over since %s", moment(r.Asked), moment(r.Ended))
	}
	a.fact("rule", plain, "%s", joined(r.Rule, r.Message))
	a.fact("needs", plain, "%s", joined(needs(r), scopeOf(r)))
	for _, v := range r.Votes {
		said := "no"
		if v.Grant {
			said = "yes"
		}
		a.fact("vote", plain, "%s", joined(v.By+": "+said, moment(v.At), named("by", v.Via), v.Reason))
	}
	a.fact("workload", plain, "%s", joined(w.Name, named("by", w.Source), named("unit", w.Unit), named("cgroup", w.Cgroup)))
	a.fact("pod", plain, "%s", joined(podOf(w), named("container", w.Container), w.Image, named("account", w.ServiceAccount), named("of", w.Owner)))
	a.fact("process", plain, "%s", joined(named("pid", number(int64(w.PID))), w.Exe, w.Comm, named("uid", number(int64(w.UID)))))
	a.fact("target", plain, "%s", joined(r.Target, r.Address, r.Protocol, named("user", r.User), named("database", r.Database)))
	a.fact("claims", plain, "%s", oneLine(labels(r.Claims)))
	a.fact("does", plain, "%s", joined(strings.Join(r.Verbs, " "), named("on", strings.Join(r.Tables, " "))))
	for i, p := range r.Parameters {
		a.fact(fmt.Sprintf("$%d", i+1), plain, "%s", p)
	}
	text := r.Statement
	if r.Cut {
		text += " … (the record has the rest: agentctl sessions show " + r.Session + ")"
	}
	a.fact("statement", plain, "%s", a.wrapped(text, 10))
}

// waits says whether the connection waits for the answer.
func waits(r *approvals.Request) string {
	if r.Held {
		return "the connection waits"
	}
	return "the client was told to try again"
}

// needs says who has to agree.
func needs(r *approvals.Request) string {
	who := "anybody who may use agentctl"
	if len(r.By) > 0 {
		who = strings.Join(r.By, " or ")
	}
	return fmt.Sprintf("%s, of %s", agreed(r), who)
}

// scopeOf says what an approval lets through.
func scopeOf(r *approvals.Request) string {
	if r.For == 0 {
		return "for one use"
	}
	return "for " + r.For.String() + " of the same"
}

// wrapped breaks text at spaces where a line of the terminal ends, if there is
// one. The lines begin at a column.
func (a *app) wrapped(text string, column int) string {
	if a.outWidth == 0 {
		return text
	}
	width := max(20, a.outWidth-column)
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, wrap([]rune(strings.TrimRight(line, "\n")), width)...)
	}
	return strings.Join(lines, "\n")
}

// wrap breaks one line.
func wrap(line []rune, width int) (lines []string) {
	for len(line) > width {
		at := width
		for i := width; i > width/2; i-- {
			if line[i] == ' ' {
				at = i
				break
			}
		}
		lines = append(lines, string(line[:at]))
		line = line[at:]
		if line[0] == ' ' {
			line = line[1:]
		}
	}
	return append(lines, string(line))
}
