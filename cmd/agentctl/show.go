package main

import (
	"context"
	"fmt"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
	"agentd.dev/recorder"
)

func newSessionsShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show everything that was recorded of a session",
		Long: `Show prints who made a session, where it went, and every statement with its
verdict and what came of it. The beginning of an ID is enough if no other
session's begins so. With -o json or yaml nothing is left out.`,
		Example: "  agentctl sessions show 4KQ7\n  agentctl sessions show 4KQ7 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.session(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			err = a.show(s, func() {
				a.writeSummary(&s.Summary)
				fmt.Fprintln(a.out)
				t := &table{head: []string{"SEQ", "AT", "KIND", "VERDICT", "RULE", "ROWS", "TOOK", "RESULT", "STATEMENT"}}
				for _, e := range s.Entries {
					a.addEntry(t, s.Transcript, e)
				}
				a.write(t)
			})
			if err != nil {
				return err
			}
			return damaged(s.Damage)
		},
	}
}

// session finds a session by its id or the beginning of it.
func (a *app) session(ctx context.Context, id string) (control.Session, error) {
	return askOrRead(ctx, a,
		func(ctx context.Context, c *control.Client) (control.Session, error) { return c.Session(ctx, id) },
		func(folder string, ids []age.Identity) (control.Session, error) {
			return control.ReadSession(folder, id, ids...)
		})
}

// writeSummary prints what is known of a session as a whole.
func (a *app) writeSummary(s *recorder.Summary) {
	a.fact("session", bold, "%s", s.ID)
	a.fact("state", stateStyles[s.State], "%s", state(s))
	a.fact("time", plain, "%s", strings.TrimSuffix(moment(s.Start)+", took "+took(s), ", took "))
	a.fact("workload", plain, "%s", joined(s.Workload, named("by", s.Source), named("unit", s.Unit), named("cgroup", s.Cgroup)))
	a.fact("pod", plain, "%s", joined(pod(&s.Place), named("container", s.Container), s.Image, named("account", s.ServiceAccount), named("of", s.Owner)))
	a.fact("labels", plain, "%s", labels(s.Labels))
	a.fact("process", plain, "%s", joined(named("pid", number(int64(s.PID))), s.Exe, named("uid", number(int64(s.UID)))))
	a.fact("target", plain, "%s", joined(s.Target, named("asked for as", s.Host), s.Address, s.Protocol, named("seen as", s.Scope)))
	a.fact("tls", plain, "%s", joined(tlsLeg("client", s.ClientTLS), tlsLeg("server", s.ServerTLS)))
	a.fact("login", plain, "%s", joined(named("user", s.User), named("database", s.Database), named("application", s.Application), named("with credential", s.Credential), named("as", s.As)))
	a.fact("claims", plain, "%s", oneLine(labels(s.Claims)))
	a.fact("left out", plain, "%s", strings.Join(s.NotCaptured, ", "))
	a.fact("did", plain, "%s, %d denied, %d failed, %s of %s, %s masked",
		plural(s.Statements, "statement"), s.Denied, s.Failed, plural(s.Rows, "row"), size(s.Bytes), plural(s.Masked, "value"))
}

// tlsLeg says how TLS was on a leg, "" if there was none.
func tlsLeg(leg string, t *recorder.Secured) string {
	if t == nil {
		return ""
	}
	what := []string{leg, t.Version, t.Cipher}
	if t.Name != "" {
		what = append(what, "for", t.Name)
	}
	if t.Verified != "" {
		what = append(what, "("+t.Subject+", sha256 "+t.SHA256[:min(len(t.SHA256), 16)]+"…, verified: "+t.Verified+")")
	}
	return strings.Join(what, " ")
}

// joined lists what is not empty.
func joined(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, oneLine(p))
		}
	}
	return strings.Join(kept, ", ")
}

// named puts a name before a value, "" if there is none.
func named(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

func (a *app) addEntry(t *table, s *recorder.Transcript, e *recorder.Entry) {
	rows, spent := "", ""
	if e.Done != nil && !e.Done.Skipped {
		rows, spent = number(e.Done.Rows), brief(e.Done.Took)
	}
	verdict := verdict(e)
	row := t.add(number(int64(e.Seq)), offset(s, e), e.Kind, verdict.Verdict, joined(verdict.Rule, beside(e)), rows, spent, outcome(e), statement(e))
	row[3].style = verdictStyles[verdict.Verdict]
	if e.Done != nil && e.Done.Code != "" {
		row[7].style = yellow
	}
}

// offset is when an entry came, counted from the session's start.
func offset(s *recorder.Transcript, e *recorder.Entry) string {
	return fmt.Sprintf("+%.3fs", e.Time.Sub(s.Start).Seconds())
}

// verdict is the answer that changed most: the one to the result, if that was
// not let through as it was.
func verdict(e *recorder.Entry) *recorder.Answer {
	if e.Result != nil && e.Result.Verdict != "" && e.Result.Verdict != "allow" {
		return e.Result
	}
	return &e.Answer
}

// beside is what rules said that did not decide, in a few words.
func beside(e *recorder.Entry) string {
	var said []string
	for _, answer := range []*recorder.Answer{&e.Answer, e.Result} {
		if answer == nil {
			continue
		}
		for _, s := range answer.Shadows {
			said = append(said, "shadow "+s.Rule+": "+s.Verdict)
		}
		for _, rule := range answer.Alerts {
			said = append(said, "alert "+rule)
		}
	}
	if e.Done != nil {
		for _, rule := range e.Done.Over {
			said = append(said, "shadow "+rule+": beyond")
		}
	}
	return strings.Join(said, ", ")
}

// outcome is what an entry came to, in a few words.
func outcome(e *recorder.Entry) string {
	switch {
	case e.Kind == "gap":
		return plural(e.Lost, "record") + " lost"
	case e.Done == nil:
		return ""
	case e.Done.Skipped:
		return "not run"
	case e.Done.Code != "":
		return "error " + e.Done.Code
	}
	return e.Done.Tag
}

// statement is the text of an entry, or what stands for it.
func statement(e *recorder.Entry) string {
	switch {
	case e.Kind == "gap":
		return e.Reason
	case len(e.Raw) > 0:
		return string(e.Raw)
	case e.Text.Bytes > 0:
		return fmt.Sprintf("%s … (%s in all)", e.Text.Text, size(e.Text.Bytes))
	}
	return e.Text.Text
}

// size writes a number of bytes.
func size(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if f < 1024 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + unit
		}
		f /= 1024
	}
	return fmt.Sprintf("%.1f TiB", f)
}
