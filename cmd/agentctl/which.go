package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
	"agentd.dev/recorder/where"
)

const (
	aboutTimes = `Times are a duration before now, as 90s, 15m, 1h or 7d, or 2006-01-02 or
2006-01-02T15:04:05Z.`
	aboutIndex = `It reads the log folder and an index beside it, which it makes or brings up to
date first. What takes longer than --within is left off, and it says how far back
it searched and how to go on.`
	aboutWhere = `--where takes a condition in CEL, as policies do, of session.*, workload.*,
target.*, login.*, claimed, sql.verbs, sql.tables, text, verdict, rule, approvers,
rows, took, code and time.`
)

// choosing is a command with the flags that choose statements, or sessions by them.
func choosing(a *app, what string, run func(*cobra.Command, index.Query) error) *cobra.Command {
	var since, until, condition, task string
	var q index.Query
	within := 60 * time.Millisecond
	cmd := &cobra.Command{
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := finishWhich(&q.Which, since, until, task, args)
			if err == nil && condition != "" {
				q.Where, err = where.Compile(condition)
			}
			if q.Within = within; a.format != "table" && !cmd.Flags().Changed("within") {
				q.Within = 0 // a program is not told how far it was searched
			}
			if err == nil && q.Within < 0 {
				err = errors.New("--within is not negative: give 0 for as long as it takes")
			}
			if err != nil {
				return &exitError{usage, err}
			}
			return run(cmd, q)
		},
	}
	indexFlag(a, cmd)
	whichFlags(cmd, &q.Which, what, &since, &until, &condition, &task)
	cmd.Flags().DurationVar(&within, "within", within, "search for so long at most; 0 for as long as it takes, as for -o json")
	return cmd
}

// whichFlags gives a command the flags that choose what.
func whichFlags(cmd *cobra.Command, w *recorder.Which, what string, since, until, condition, task *string) {
	flags := cmd.Flags()
	for _, f := range []struct {
		to         *string
		name, what string
	}{
		{&w.Session, "session", "of the session with this id"},
		{&w.Workload, "workload", "of this workload or run"},
		{&w.Namespace, "namespace", "from pods in this namespace"},
		{&w.Pod, "pod", "from this pod: NAME, or NAMESPACE/NAME"},
		{&w.ServiceAccount, "service-account", "from pods with this service account"},
		{&w.Owner, "owner", "from pods of this owner, as ReplicaSet/etl-7d9f"},
		{&w.Target, "target", "to this target"},
		{&w.Host, "host", "to the host that was asked for by this name"},
		{&w.Protocol, "protocol", "of this protocol"},
		{&w.User, "user", "logged in as this user"},
		{&w.Database, "database", "to this database"},
		{&w.Claim, "claim", "that claim this of themselves: KEY=VALUE, as task=T-17"},
		{task, "task", "that claim this task: the same as --claim task=TASK"},
		{&w.Verb, "verb", "with this verb, as delete"},
		{&w.Table, "table", "that name this table, with or without its schema"},
		{&w.Verdict, "verdict", "with this verdict: allow, mask, deny, close or hold"},
		{&w.Rule, "rule", "that this rule decided"},
		{&w.Approval, "approval", "that this approval was asked for"},
		{&w.Approver, "approver", "that this person agreed to or refused"},
		{&w.Group, "group", "that somebody of this group agreed to or refused"},
		{since, "since", "since then"},
		{until, "until", "before then"},
	} {
		flags.StringVar(f.to, f.name, "", "only "+what+" "+f.what)
	}
	flags.BoolVar(&w.Denied, "denied", false, "only "+what+" that were refused, or hold what was")
	flags.BoolVar(&w.Failed, "failed", false, "only "+what+" that the server answered with an error")
	flags.Int64Var(&w.Rows, "rows", 0, "only "+what+" of at least so many rows a statement")
	flags.DurationVar(&w.Took, "took", 0, "only "+what+" of statements that took at least so long, as 500ms")
	flags.StringVar(condition, "where", "", "only "+what+" for which this condition holds, in CEL")
	for _, f := range []struct {
		name   string
		values []string
	}{
		{"verdict", verdicts},
		{"protocol", []string{"postgres"}},
	} {
		cmd.RegisterFlagCompletionFunc(f.name, cobra.FixedCompletions(f.values, cobra.ShellCompDirectiveNoFileComp))
	}
}

var verdicts = []string{"allow", "mask", "deny", "close", "hold"}

// finishWhich reads the flags that are not as they are given, and checks others.
func finishWhich(w *recorder.Which, since, until, task string, args []string) (err error) {
	if w.Since, err = parseTime("since", since, time.Now()); err != nil {
		return err
	}
	if w.Until, err = parseTime("until", until, time.Now()); err != nil {
		return err
	}
	if !w.Until.IsZero() && !w.Since.Before(w.Until) {
		return errors.New("--until is not after --since: nothing is between them")
	}
	if task != "" {
		if w.Claim != "" {
			return errors.New("--task and --claim: give one of them")
		}
		w.Claim = "task=" + task
	}
	if key, _, ok := strings.Cut(w.Claim, "="); w.Claim != "" && (!ok || key == "") {
		return fmt.Errorf("--claim %q: give KEY=VALUE, as task=T-17", w.Claim)
	}
	if namespace, name, ok := strings.Cut(w.Pod, "/"); ok {
		if w.Namespace != "" && w.Namespace != namespace {
			return fmt.Errorf("--pod %s is not in --namespace %s: give one of them", w.Pod, w.Namespace)
		}
		w.Namespace, w.Pod = namespace, name
	}
	if w.Verdict != "" && !slices.Contains(verdicts, w.Verdict) {
		return fmt.Errorf("--verdict %q: give one of %s", w.Verdict, strings.Join(verdicts, ", "))
	}
	if w.Rows < 0 || w.Took < 0 {
		return errors.New("--rows and --took are not negative")
	}
	if len(args) == 1 {
		if w.Text = args[0]; !index.HasWord(w.Text) {
			return fmt.Errorf("%q has no letter or digit to search for: give a word", w.Text)
		}
	}
	return nil
}

// end says, of a table, why it is empty, and of any answer how to go on.
func (a *app) end(n int, what, unknown string, next int64, back time.Time) {
	switch {
	case n > 0 || a.format != "table":
	case unknown != "":
		a.note("no %s fits: %s", what, unknown)
	case back.IsZero():
		a.note("no %s fits", what)
	}
	switch {
	case next == 0:
	case back.IsZero():
		a.note("there may be more: go on with --after %d", next)
	default:
		a.note("searched back to %s: go on with --after %d, or search all of it with --within 0", moment(back), next)
	}
}

// errNoIndex is that there is no index, and none can be made.
var errNoIndex = errors.New("there is no index")

// cannotIndex adds what to do about an index that cannot be made.
func cannotIndex(err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w, and none can be made beside the log: %w: give a file for it with --index", errNoIndex, err)
	}
	return err
}
