package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
	"agentd.dev/recorder"
)

func newSessions(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List, show and replay what was recorded",
		Long: `Sessions are the connections that agentd captured, one by one, with who made
them, where they went, what was asked on them and what came of it.

They are asked of agentd; when it is down, or --dir is given, they are read from
the log folder. Reading does not check the log: audit verify does.`,
		Example: `  agentctl sessions list --since 1h
  agentctl sessions replay 4KQ7`,
	}
	folderFlag(a, cmd)
	cmd.AddCommand(newSessionsList(a), newSessionsSearch(a), newSessionsShow(a), newSessionsReplay(a), newSessionsExport(a), newSessionsStats(a))
	return group(cmd)
}

func newSessionsList(a *app) *cobra.Command {
	var f control.SessionFilter
	var since string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sessions, the latest last",
		Long: `List shows the latest sessions that fit, one a line: who, where to, when, how
much, and how many statements were refused or failed.

--since takes a duration before now, as 90s, 15m, 1h or 7d, or a time, as
2006-01-02 or 2006-01-02T15:04:05Z.`,
		Example: `  agentctl sessions list
  agentctl sessions list --denied --since 1h
  agentctl sessions list --namespace agents --pod reporter-7d9f
  agentctl sessions list --workload nightly-report --target orders -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.Since, err = parseSince(since, time.Now()); err != nil {
				return &exitError{usage, err}
			}
			if f.Limit < 0 {
				return &exitError{usage, fmt.Errorf("--limit %d: give 0 for all, or how many", f.Limit)}
			}
			if key, _, ok := strings.Cut(f.Claim, "="); f.Claim != "" && (!ok || key == "") {
				return &exitError{usage, fmt.Errorf("--claim %q: give KEY=VALUE, as task=T-17", f.Claim)}
			}
			if namespace, name, ok := strings.Cut(f.Pod, "/"); ok {
				if f.Namespace != "" && f.Namespace != namespace {
					return &exitError{usage, fmt.Errorf("--pod %s is not in --namespace %s: give one of them", f.Pod, f.Namespace)}
				}
				f.Namespace, f.Pod = namespace, name
			}
			return a.listSessions(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Workload, "workload", "", "only sessions of this workload or run")
	flags.StringVar(&f.Namespace, "namespace", "", "only sessions from pods in this namespace")
	flags.StringVar(&f.Pod, "pod", "", "only sessions from this pod: NAME, or NAMESPACE/NAME")
	flags.StringVar(&f.Target, "target", "", "only sessions to this target")
	flags.StringVar(&f.Claim, "claim", "", "only sessions that claim this of themselves, or of a statement: KEY=VALUE, as task=T-17")
	flags.StringVar(&since, "since", "", "only sessions that started since then")
	flags.BoolVar(&f.Denied, "denied", false, "only sessions in which something was refused")
	flags.IntVar(&f.Limit, "limit", 50, "only the latest so many; 0 for all")
	return cmd
}

// parseSince returns the time that text means at now; zero for "".
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if n := len(text) - 1; text[n] == 'd' {
		if days, err := strconv.ParseUint(text[:n], 10, 16); err == nil {
			return now.AddDate(0, 0, -int(days)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since %q: give a duration, as 15m, 1h or 7d, or a time, as 2006-01-02T15:04:05Z", text)
}

func (a *app) listSessions(ctx context.Context, f control.SessionFilter) error {
	list, err := askOrRead(ctx, a,
		func(ctx context.Context, c *control.Client) (control.Sessions, error) { return c.Sessions(ctx, f) },
		func(folder string) (control.Sessions, error) { return control.ReadSessions(folder, f) })
	if err != nil {
		return err
	}
	if err := a.show(list.Sessions, func() { a.writeSessions(list.Sessions) }); err != nil {
		return err
	}
	return damaged(list.Damage)
}

// damaged is the error of an answer that is not whole.
func damaged(why string) error {
	if why == "" {
		return nil
	}
	return errors.New(why)
}

func (a *app) writeSessions(list []recorder.Summary) {
	t := &table{head: []string{"ID", "START", "TOOK", "WORKLOAD", "POD", "PID", "TARGET", "HOST", "USER", "STATEMENTS", "DENIED", "FAILED", "ROWS", "MASKED", "STATE"}}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	ids = shorten(ids)
	for i := range list {
		s := &list[i]
		row := t.add(ids[i], moment(s.Start), took(s), s.Workload, pod(&s.Place), strconv.Itoa(s.PID), s.Target, s.Host, s.User,
			number(s.Statements), number(s.Denied), number(s.Failed), number(s.Rows), number(s.Masked), state(s))
		if s.Denied > 0 {
			row[10].style = red
		}
		if s.Failed > 0 {
			row[11].style = yellow
		}
		row[14].style = stateStyles[s.State]
	}
	a.write(t)
	if len(list) == 0 {
		a.note("no session fits")
	}
}

// pod names the pod that something came from, "" if it was none.
func pod(p *recorder.Place) string {
	if p.Pod == "" {
		return p.Namespace
	}
	return p.Namespace + "/" + p.Pod
}

// stateStyles says at a glance which sessions did not just end.
var stateStyles = map[string]style{recorder.Live: green, recorder.Interrupted: yellow}

// state is how a session is, with why it ended if that says more.
func state(s *recorder.Summary) string {
	if s.Outcome == "" {
		return s.State
	}
	return s.State + ": " + s.Outcome
}

// took is how long a session has taken, "" while it goes on.
func took(s *recorder.Summary) string {
	if s.End.IsZero() {
		return ""
	}
	return brief(s.End.Sub(s.Start))
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// minID is how much of an id a table shows at least.
const minID = 8

// shorten cuts ids to the shortest length at which they still differ.
func shorten(ids []string) []string {
	for n := minID; ; n++ {
		short, seen, whole := make([]string, len(ids)), map[string]bool{}, true
		for i, id := range ids {
			short[i] = id[:min(n, len(id))]
			seen[short[i]] = true
			whole = whole && n >= len(id)
		}
		if whole || len(seen) == len(ids) {
			return short
		}
	}
}

// brief writes a duration with three digits that count.
func brief(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= 100*unit {
			return d.Round(unit).String()
		}
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
