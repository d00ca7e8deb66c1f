package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/replay"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

func newPolicyReplay(a *app) *cobra.Command {
	var o replay.Options
	var since string
	var failOn []string
	cmd := &cobra.Command{
		Use:   "replay FILE|DIR...",
		Short: "Try a policy on what was recorded",
		Long: `Replay reads the log and tells what would be decided otherwise if these rules had
been in force: what would be newly denied, held for people, cut short by a limit,
masked, allowed, or shown unmasked, with how often and examples.

Nothing is asked of any server and no text is read anew: rules are asked about
what they were asked about then. What the record does not have, a field that no
rule wanted or a column that nobody looked for, is counted as not decided, with
why. Limits count what was recorded.

With --fail-on it exits with 1 if there is such a change: newly-denied,
newly-held, newly-cut, newly-masked, newly-allowed, newly-shown, undecided.`,
		Example: `  agentctl policy replay --since 7d ./policies
  agentctl policy replay --since 7d --fail-on newly-denied,newly-held ./policies
  agentctl policy replay --session 4KQ7 draft.yaml -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Since, err = parseTime("since", since, time.Now()); err != nil {
				return &exitError{usage, err}
			}
			if o.Default != "" && o.Default != "allow" && o.Default != "deny" {
				return &exitError{usage, fmt.Errorf("--default %q: give allow or deny", o.Default)}
			}
			for _, name := range failOn {
				if !slices.Contains(replay.Changes, name) && name != undecided {
					return &exitError{usage, fmt.Errorf("--fail-on %q: give some of %s, %s", name, strings.Join(replay.Changes, ", "), undecided)}
				}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			report, err := a.tryOut(ctx, args, o)
			if report == nil {
				return err
			}
			if e := a.show(report, func() { a.writeReplay(report) }); e != nil {
				return e
			}
			if err == nil && slices.ContainsFunc(failOn, func(name string) bool { return fails(report, name) }) {
				return saidNo
			}
			return err
		},
	}
	folderFlag(a, cmd)
	flags := cmd.Flags()
	flags.StringVar(&since, "since", "", "only what was asked since then: a duration, as 7d, or a time")
	flags.StringVar(&o.Session, "session", "", "only this session: its id, or the beginning of it")
	flags.StringVar(&o.Workload, "workload", "", "only this workload or run")
	flags.StringVar(&o.Schema, "schema", "", "take names without a schema to be in this one, where the record does not say")
	flags.StringVar(&o.Default, "default", "", "allow or deny: as if targets did that with what no rule speaks of")
	flags.StringSliceVar(&failOn, "fail-on", nil, "exit with 1 on such a change, as newly-denied,newly-held")
	return cmd
}

// undecided is, for --fail-on, what cannot be told.
const undecided = "undecided"

func fails(r *replay.Report, name string) bool {
	if name == undecided {
		return r.Undecided > 0
	}
	return r.Count(name) > 0
}

// tryOut runs a replay. A report that comes with an error is of what could be
// read.
func (a *app) tryOut(ctx context.Context, paths []string, o replay.Options) (*replay.Report, error) {
	engine, err := a.loadPolicy(paths)
	if err != nil {
		return nil, err
	}
	folder, err := a.log(ctx)
	if err != nil {
		return nil, err
	}
	bar := a.newProgress("replaying")
	o.Progress = bar.to
	report, err := replay.Run(ctx, folder, engine, all.Protocols, o)
	bar.clear()
	if err != nil && !errors.Is(err, recorder.ErrDamaged) {
		return nil, err
	}
	return report, err
}

// log opens the log folder.
func (a *app) log(ctx context.Context) (*recorder.Folder, error) {
	folder, _, err := a.whereLog(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkFolder(folder); err != nil {
		return nil, err
	}
	ids, err := a.identities()
	if err != nil {
		return nil, err
	}
	log, err := recorder.OpenFolder(folder, ids...)
	if err != nil {
		return nil, err
	}
	h, err := log.Hidden()
	a.hidden(h)
	return log, err
}

// loadPolicy reads a policy. What is wrong with it is printed.
func (a *app) loadPolicy(paths []string) (*policy.Engine, error) {
	engine, err := policy.Load(paths, all.Protocols)
	var problems policy.Errors
	if errors.As(err, &problems) {
		a.writeCheckup(&checkup{Problems: problems})
		return nil, saidNo
	}
	return engine, err
}

// changeStyles says at a glance what a change does to people.
var changeStyles = map[replay.Change]style{
	replay.Denied: red, replay.Held: red, replay.Cut: red, replay.Masked: yellow, replay.Allowed: green, replay.Shown: red,
}

func (a *app) writeReplay(r *replay.Report) {
	span := ""
	if !r.From.IsZero() {
		span = fmt.Sprintf(", from %s to %s", moment(r.From), moment(r.To))
	}
	a.fact("judged", plain, "%s of %s%s", plural(r.Judged, "event"), plural(r.Sessions, "session"), span)
	a.fact("the same", green, "%d, %d of them by another rule", r.Same, r.Otherwise)
	for _, name := range replay.Changes {
		if n := r.Count(name); n > 0 {
			a.fact(strings.ReplaceAll(name, "-", " "), bold, "%d", n)
		}
	}
	if r.Undecided > 0 {
		a.fact("undecided", yellow, "%d", r.Undecided)
	}
	if r.Assumed > 0 {
		a.fact("assumed", yellow, "the schema of tables that %s named without one", plural(r.Assumed, "event"))
	}
	if r.Unreached > 0 {
		a.fact("unreached", plain, "%s after what would be refused", plural(r.Unreached, "event"))
	}
	if r.ByAgentd > 0 {
		a.fact("by agentd", plain, "%s that it refused before any rule was asked", plural(r.ByAgentd, "event"))
	}
	if r.Searched > 0 {
		a.fact("searched", plain, "results of %s; what would be found in them is not known", plural(r.Searched, "request"))
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		fmt.Fprintln(a.out)
		fmt.Fprintf(a.out, "%s %s, %s by %s, now %s by %s\n", a.paint(changeStyles[g.Change], strings.ReplaceAll(g.Change.String(), "-", " ")),
			plural(g.Count, g.Kind), g.Was, oneLine(orDash(g.By)), g.Is, oneLine(g.Now))
		a.writeExamples(g.Examples)
	}
	for i := range r.Doubts {
		d := &r.Doubts[i]
		fmt.Fprintln(a.out)
		fmt.Fprintf(a.out, "%s %s: %s\n", a.paint(yellow, "undecided"), plural(d.Count, "event"), oneLine(d.Why))
		a.writeExamples(d.Examples)
	}
}

func (a *app) writeExamples(list []replay.Example) {
	t := &table{head: []string{"  SESSION", "SEQ", "TIME", "WORKLOAD", "USER", "STATEMENT"}}
	for _, e := range list {
		t.add("  "+e.Session[:min(len(e.Session), 8)], number(int64(e.Seq)), moment(e.Time), e.Workload, e.User, e.Statement)
	}
	a.write(t)
	if len(list) > 0 && list[0].Reason != "" {
		fmt.Fprintf(a.out, "  %s\n", oneLine(list[0].Reason))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
