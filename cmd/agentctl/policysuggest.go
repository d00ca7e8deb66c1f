package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/replay"
	"agentd.dev/decoders/all"
	"agentd.dev/recorder"
)

func newPolicySuggest(a *app) *cobra.Command {
	var workload, since, schema string
	cmd := &cobra.Command{
		Use:   "suggest --workload NAME",
		Short: "Write a policy that allows what a workload did, and no more",
		Long: `Suggest reads the log and writes a policy in YAML: for each target, user and kind
of statement one rule that allows the tables and functions that were used, with
how often and when last. Everything else is left to the target's default, which
is to be deny.

It is a first draft, to be read. What was refused then is not allowed now.

Which schema a table is in is recorded where a rule asked for sql.tables, or with
record.facts: all. Otherwise names without one are taken to be in --schema.`,
		Example: `  agentctl policy suggest --workload nightly-report --since 7d > nightly.yaml
  agentctl policy check nightly.yaml
  agentctl policy replay --default deny --schema public --workload nightly-report nightly.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if workload == "" {
				return &exitError{usage, errors.New("whose policy? give the workload or run with --workload")}
			}
			from, err := parseTime("since", since, time.Now())
			if err != nil {
				return &exitError{usage, err}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			folder, err := a.log(ctx)
			if err != nil {
				return err
			}
			bar := a.newProgress("reading")
			s, err := replay.Suggest(ctx, folder, all.Protocols, workload, schema, from, bar.to)
			bar.clear()
			if err != nil && !errors.Is(err, recorder.ErrDamaged) {
				return err
			}
			if len(s.Rules) == 0 && err == nil {
				return fmt.Errorf("workload %q did nothing that could be allowed: `agentctl sessions list` shows who did", workload)
			}
			return errors.Join(a.show(s, func() { writeSuggestion(a.out, s) }), err)
		},
	}
	folderFlag(a, cmd)
	flags := cmd.Flags()
	flags.StringVar(&workload, "workload", "", "the workload or run")
	flags.StringVar(&since, "since", "", "only what was asked since then: a duration, as 7d, or a time")
	flags.StringVar(&schema, "schema", "public", "where tables are of which it is not recorded")
	return cmd
}

// writeSuggestion writes the policy. What came from workloads stands in quotes,
// or in comments of one line.
func writeSuggestion(w io.Writer, s *replay.Suggestion) {
	say := func(format string, args ...any) { fmt.Fprintf(w, "# "+format+"\n", args...) }
	say("What %s did from %s to %s: a draft, to be read.", oneLine(s.Workload), moment(s.From), moment(s.To))
	for _, target := range s.Silent {
		say("Target %s lets through what no rule speaks of: write `default: deny` there, or these rules change nothing.", oneLine(target))
	}
	for _, left := range []struct {
		n    int64
		what string
	}{
		{s.Refused, "refused, and stays so"},
		{s.Unread, "not understood, which the target's `unclassified` decides"},
		{s.Unknown, "left out: too little of it is recorded"},
		{s.Assumed, "about tables whose schema is not recorded: they are taken to be in " + oneLine(s.Schema)},
	} {
		if left.n > 0 {
			say("Of what it asked, %d: %s.", left.n, left.what)
		}
	}
	fmt.Fprint(w, "rules:\n")
	for i := range s.Rules {
		r := &s.Rules[i]
		fmt.Fprintf(w, "  # %s, last %s, as: %s\n", plural(r.Count, "request"), moment(r.Last), cut(oneLine(r.Example), 100))
		if r.Opaque {
			fmt.Fprint(w, "  # Its text does not show all that it does: think twice.\n")
		}
		fmt.Fprintf(w, "  - name: %s\n    on: request\n    do: allow\n    when: |\n      %s\n", r.Name, strings.ReplaceAll(r.When(s.Workload), "\n", "\n      "))
	}
}
