package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/replay"
	"agentd.dev/agentd/suppose"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// An explaining is what policy explain is asked.
type explaining struct {
	session, text, as, target, user, database, silence, agentd string
}

func newPolicyExplain(a *app) *cobra.Command {
	var x explaining
	cmd := &cobra.Command{
		Use:   "explain {--session ID[#SEQ] | --sql TEXT --as WORKLOAD} [FILE|DIR...]",
		Short: "Tell which rules were looked at, which matched, and why",
		Long: `Explain tells what each rule has to do with a request: whether it matches, what its
condition saw, and which one decides. Of those that match, a deny decides before an
approve, an approve before an allow, and an allow before the target's default.

With --session it takes what was recorded: the event of that number, or a line for
each event of the session. With --sql it reads a text as agentd would, by
PostgreSQL's grammar, for which an agentd program is started. No server is asked:
names without a schema are taken to be in "public", and the answer says so.

The rules are those of the files that are given, else those that agentd has read.`,
		Example: `  agentctl policy explain --session '4KQ7#12'
  agentctl policy explain --sql 'delete from orders' --as nightly-report --target orders
  agentctl policy explain --sql 'drop table t' --as coder --default allow ./policies`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case (x.session == "") == (x.text == ""):
				return &exitError{usage, errors.New("give one of --session and --sql")}
			case x.text != "" && x.as == "":
				return &exitError{usage, errors.New("who asks? give the workload with --as")}
			case x.silence != "" && x.silence != "allow" && x.silence != "deny":
				return &exitError{usage, fmt.Errorf("--default %q: give allow or deny", x.silence)}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			paths, err := a.policyPaths(ctx, args)
			if err != nil {
				return err
			}
			engine, err := a.loadPolicy(paths)
			if err != nil {
				return err
			}
			if x.session != "" {
				return a.explainSession(ctx, engine, &x)
			}
			return a.explainText(ctx, engine, &x)
		},
	}
	folderFlag(a, cmd)
	flags := cmd.Flags()
	flags.StringVar(&x.session, "session", "", "what was recorded: a session's id, or its beginning, and the number of an event behind #")
	flags.StringVar(&x.text, "sql", "", "a statement")
	flags.StringVar(&x.as, "as", "", "with --sql: the workload that asks")
	flags.StringVar(&x.target, "target", "", "with --sql: the target; its labels and defaults are those that agentd has")
	flags.StringVar(&x.user, "user", "", "with --sql: the database user")
	flags.StringVar(&x.database, "database", "", "with --sql: the database")
	flags.StringVar(&x.silence, "default", "", "allow or deny: what the target does where no rule speaks")
	agentdFlag(cmd, &x.agentd)
	return cmd
}

// policyPaths are the given files, or those that agentd has read.
func (a *app) policyPaths(ctx context.Context, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	client := a.client()
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return nil, adviceError{err, "give the policy's files"}
	}
	return status.Policy.Files, nil
}

// An explanation is what policy explain says.
type explanation struct {
	Session string         `json:"session,omitempty"`
	Seq     uint64         `json:"seq,omitempty"`
	Kind    string         `json:"kind"`
	Text    string         `json:"text,omitempty"`
	Verdict string         `json:"verdict"`
	Rule    string         `json:"rule"`
	Reason  string         `json:"reason,omitempty"`
	Hint    string         `json:"hint,omitempty"`
	Was     string         `json:"was,omitempty"`     // the recorded verdict
	WasBy   string         `json:"was_by,omitempty"`  // and its rule
	Unclear string         `json:"unclear,omitempty"` // why it was not understood
	Facts   map[string]any `json:"facts,omitempty"`
	Rules   []policy.Look  `json:"rules"`
	Assumed []string       `json:"assumed,omitempty"` // what is not certain

	looks bool // rule by rule
}

func (a *app) explainText(ctx context.Context, engine *policy.Engine, x *explaining) error {
	reader, err := a.reader(x.agentd)
	if err != nil {
		return err
	}
	defer reader.Close()
	protocol, _ := all.Lookup("postgres")
	s := suppose.Situation{Kind: decoders.Request, Text: x.text, Login: suppose.Login(&protocol, map[string]any{"login.user": x.user, "login.database": x.database})}
	s.Session.Identity.Workload, s.Session.Scope = x.as, "plaintext"
	s.Session.Target = policy.Target{Name: x.target, Protocol: protocol.Name}
	var assumed []string
	if x.target != "" {
		assumed = a.describeTarget(ctx, &s.Session.Target)
	}
	if x.silence != "" {
		s.Session.Target.Default = defaultOf(x.silence)
	}
	answer := reader.Judge(ctx, engine, &s, &protocol)
	e := explanation{
		Kind: answer.Kind.String(), Text: x.text, Verdict: answer.Verdict.Outcome.String(), Rule: answer.Verdict.Rule,
		Reason: answer.Verdict.Reason, Hint: answer.Verdict.Hint, Unclear: answer.Event.Unclassified, Facts: answer.Facts,
		Rules: engine.Explain(&s.Session, &answer.Login, &answer.Event), Assumed: append(assumed, answer.Assumed...), looks: true,
	}
	return a.show(e, func() { a.writeExplanation(&e) })
}

// describeTarget completes a target as agentd has it, and says what it could not.
func (a *app) describeTarget(ctx context.Context, t *policy.Target) []string {
	client := a.client()
	defer client.Close()
	targets, err := client.Targets(ctx)
	i := slices.IndexFunc(targets, func(c control.Target) bool { return c.Name == t.Name })
	switch {
	case err != nil:
		return []string{"agentd was not asked about the target: it has no labels here, and refuses what no rule speaks of. " + err.Error()}
	case i < 0:
		return []string{fmt.Sprintf("agentd has no target %q: it has no labels here, and refuses what no rule speaks of.", t.Name)}
	}
	t.Protocol, t.Labels = targets[i].Protocol, targets[i].Labels
	t.Default, t.Unclassified = defaultOf(targets[i].Default), defaultOf(targets[i].Unclassified)
	return nil
}

func defaultOf(word string) policy.Default {
	switch word {
	case "allow":
		return policy.Allowing
	case "approve":
		return policy.Asking
	}
	return policy.Refusing
}

func (a *app) explainSession(ctx context.Context, engine *policy.Engine, x *explaining) error {
	id, number, one := strings.Cut(x.session, "#")
	seq, err := strconv.ParseUint(number, 10, 64)
	if one && err != nil {
		return &exitError{usage, fmt.Errorf("--session %q: give the number of an event behind #, as ID#12", x.session)}
	}
	folder, err := a.log(ctx)
	if err != nil {
		return err
	}
	var found []explanation
	bar := a.newProgress("reading")
	_, err = replay.Run(ctx, folder, engine, all.Protocols, replay.Options{Session: id, Default: x.silence, Progress: bar.to, Each: func(t *replay.Trial) {
		if !one || t.Event.Seq == seq {
			found = append(found, explained(t, one))
		}
	}})
	bar.clear()
	switch {
	case err != nil && !errors.Is(err, recorder.ErrDamaged):
		return err
	case len(found) == 0:
		return errors.Join(fmt.Errorf("nothing that was asked has the number %s: `agentctl sessions show %s` shows what has", x.session, id), err)
	}
	return errors.Join(a.show(found, func() { a.writeExplanations(found) }), err)
}

// explained is a trial as an explanation, rule by rule if asked.
func explained(t *replay.Trial, looks bool) explanation {
	e := explanation{
		Session: t.Event.Session.ID, Seq: t.Event.Seq, Kind: t.Event.Kind, Text: t.Event.Text.Text, Was: t.Event.Verdict, WasBy: t.Event.Rule,
		Verdict: t.Verdict.Outcome.String(), Rule: t.Verdict.Rule, Reason: t.Verdict.Reason, Hint: t.Verdict.Hint, Unclear: t.Event.Unclassified, looks: looks,
	}
	switch {
	case t.Why != "":
		e.Verdict, e.Rule, e.Assumed = undecided, "", []string{t.Why}
	case t.Change == replay.ByAgentd:
		e.Verdict, e.Rule, e.Reason = t.Event.Verdict, t.Event.Rule, t.Event.Reason
		e.Assumed = []string{"agentd itself decided, before any rule"}
	case t.Change == replay.Unreached:
		e.Verdict, e.Rule, e.Assumed = replay.Unreached.String(), "", []string{"what comes before it would be refused"}
	}
	if looks {
		e.Rules = t.Explain()
		if t.Event.Facts != nil {
			e.Facts = t.Event.Facts.Fields
		}
	}
	return e
}

func (a *app) writeExplanations(all []explanation) {
	if len(all) == 0 || all[0].looks {
		for i := range all {
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			a.writeExplanation(&all[i])
		}
		return
	}
	t := &table{head: []string{"SEQ", "KIND", "WAS", "BY", "IS", "BY", "STATEMENT"}}
	for _, e := range all {
		row := t.add(number(int64(e.Seq)), e.Kind, e.Was, e.WasBy, e.Verdict, e.Rule, e.Text)
		row[2].style, row[4].style = verdictStyles[e.Was], verdictStyles[e.Verdict]
	}
	a.write(t)
}

func (a *app) writeExplanation(e *explanation) {
	if e.Session != "" {
		a.fact("session", plain, "%s, event %d", oneLine(e.Session), e.Seq)
		a.fact("was", verdictStyles[e.Was], "%s by %s", e.Was, oneLine(e.WasBy))
	}
	a.fact(e.Kind, plain, "%s", oneLine(e.Text))
	a.fact("verdict", verdictStyles[e.Verdict], "%s by %s", e.Verdict, oneLine(e.Rule))
	a.fact("reason", plain, "%s", oneLine(e.Reason))
	a.fact("hint", plain, "%s", oneLine(e.Hint))
	a.fact("unclear", yellow, "%s", oneLine(e.Unclear))
	for _, text := range e.Assumed {
		a.fact("but", yellow, "%s", oneLine(text))
	}
	for _, name := range slices.Sorted(maps.Keys(e.Facts)) {
		if text := fmt.Sprint(e.Facts[name]); text != "[]" && text != "false" && text != "0" {
			a.fact(name, dim, "%s", oneLine(text))
		}
	}
	fmt.Fprintln(a.out)
	t := &table{head: []string{"RULE", "DO", "RESULT", "PLACE", "WHY"}}
	for _, l := range e.Rules {
		why := l.Why
		for _, s := range l.Saw {
			why += ", " + s.Name + " = " + s.Value
		}
		do := l.Do
		if l.Mode == "shadow" {
			do += " (shadow)"
		}
		row := t.add(l.Rule, do, l.Result, fmt.Sprintf("%s:%d", l.File, l.Line), strings.TrimPrefix(why, ", "))
		if l.Rule == e.Rule {
			row[0].style = bold
		}
		if l.Result == policy.Matches || l.Result == policy.Fails {
			row[2].style = yellow
		}
	}
	a.write(t)
}
