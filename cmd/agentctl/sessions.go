package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
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
	cmd.AddCommand(newSessionsList(a), newSessionsSearch(a), newSessionsShow(a), newSessionsReplay(a), newSessionsExport(a), newSessionsStats(a), newSessionsTail(a))
	return group(cmd)
}

func newSessionsList(a *app) *cobra.Command {
	var state string
	limit := 50
	var after int64
	cmd := choosing(a, "sessions", func(cmd *cobra.Command, q index.Query) error {
		if q.Limit, q.After, q.State = limit, after, state; q.Limit < 0 || q.After < 0 {
			return &exitError{usage, errors.New("--limit and --after are not negative: give --limit 0 for all")}
		}
		return a.listSessions(cmd.Context(), q)
	})
	cmd.Use = "list"
	cmd.Args = cobra.NoArgs
	cmd.Short = "List sessions, the latest last"
	cmd.Long = `List shows the latest sessions that fit, one a line: who, where to, when, how
much, and how many statements were refused or failed.

A session fits if what the flags say of sessions is so, and one of its statements
at least fits all that they say of statements. --since and --until are of when it
began.

` + aboutIndex + `

` + aboutTimes
	cmd.Example = `  agentctl sessions list
  agentctl sessions list --denied --since 1h
  agentctl sessions list --namespace agents --pod reporter-7d9f
  agentctl sessions list --table customers --verb delete --task T-17
  agentctl sessions list --where 'session.rows > 100000 || "admin" in approvers' -o json`
	flags := cmd.Flags()
	flags.StringVar(&state, "state", "", "only sessions that are live, ended or interrupted")
	flags.IntVar(&limit, "limit", limit, "only the latest so many; 0 for all")
	flags.Int64Var(&after, "after", 0, "go on after the page that said so")
	return cmd
}

// parseTime returns the time that a flag's text means at now; zero for "".
func parseTime(flag, text string, now time.Time) (time.Time, error) {
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
	return time.Time{}, fmt.Errorf("--%s %q: give a duration, as 15m, 1h or 7d, or a time, as 2006-01-02T15:04:05Z", flag, text)
}

func (a *app) listSessions(ctx context.Context, q index.Query) error {
	var page index.Sessions
	err := searchIn(ctx, a, func(x *index.Index) (list []index.Listed, err error) {
		page, err = x.Sessions(ctx, q)
		slices.Reverse(page.Sessions)
		return page.Sessions, err
	}, a.writeSessions)
	if errors.Is(err, errNoIndex) {
		return a.askSessions(ctx, q, err)
	}
	if err == nil || len(page.Sessions) > 0 {
		a.end(len(page.Sessions), "session", page.Unknown, page.Next, page.Back)
	}
	return err
}

// askSessions asks agentd for what only it can read, if it can choose by that.
func (a *app) askSessions(ctx context.Context, q index.Query, why error) error {
	f, ok := simple(&q)
	if !ok {
		return why
	}
	client := a.client()
	defer client.Close()
	answer, err := client.Sessions(ctx, f)
	if err != nil {
		return why
	}
	a.note("%v: agentd reads the whole log instead", why)
	list := make([]index.Listed, len(answer.Sessions))
	for i, s := range answer.Sessions {
		list[i].Summary = s
	}
	if err := a.show(list, func() { a.writeSessions(list) }); err != nil {
		return err
	}
	a.end(len(list), "session", "", 0, time.Time{})
	return damaged(answer.Damage)
}

// simple is q as agentd is asked, if it can be.
func simple(q *index.Query) (control.SessionFilter, bool) {
	w := q.Which
	f := control.SessionFilter{Denied: w.Denied, Filter: recorder.Filter{
		Workload: w.Workload, Target: w.Target, User: w.User, Database: w.Database, State: q.State,
		Namespace: w.Namespace, Pod: w.Pod, Claim: w.Claim, Since: w.Since, Until: w.Until, Limit: q.Limit,
	}}
	rest := recorder.Which{
		Workload: w.Workload, Target: w.Target, User: w.User, Database: w.Database, Namespace: w.Namespace, Pod: w.Pod,
		Claim: w.Claim, Since: w.Since, Until: w.Until, Denied: w.Denied,
	}
	return f, rest == w && q.Where == nil && q.After == 0
}

// damaged is the error of an answer that is not whole.
func damaged(why string) error {
	if why == "" {
		return nil
	}
	return errors.New(why)
}

func (a *app) writeSessions(list []index.Listed) {
	t := &table{head: []string{"ID", "START", "TOOK", "WORKLOAD", "POD", "PID", "TARGET", "HOST", "USER", "STATEMENTS", "DENIED", "FAILED", "ROWS", "MASKED", "STATE"}}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	ids = shorten(ids)
	for i := range list {
		s := &list[i].Summary
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
