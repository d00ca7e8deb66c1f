package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/recorder/index"
)

func newSessionsSearch(a *app) *cobra.Command {
	limit, after := 50, int64(0)
	cmd := searchCommand(a, func(ctx context.Context, q index.Query) error {
		if q.Limit, q.After = limit, after; q.Limit < 0 || q.After < 0 {
			return &exitError{usage, errors.New("--limit and --after are not negative: give --limit 0 for all")}
		}
		return a.search(ctx, q)
	})
	cmd.Use = "search [TEXT]"
	cmd.Short = "Find statements by their words and by what came of them"
	cmd.Long = `Search shows the latest statements that hold TEXT and fit the flags, the latest
first. TEXT is words that follow each other; the last may go on, so that
customer_ord finds customer_orders. Without TEXT the flags alone choose.

It reads the log folder and an index beside it, which it makes or brings up to
date first.`
	cmd.Example = `  agentctl sessions search customer_orders
  agentctl sessions search --table customers --verdict deny --since 7d
  agentctl sessions search 'drop table' -o json`
	cmd.Flags().IntVar(&limit, "limit", limit, "so many at most; 0 for all")
	cmd.Flags().Int64Var(&after, "after", 0, "go on after the statement with this cursor")
	return cmd
}

// searchCommand is a command with the flags that choose statements.
func searchCommand(a *app, run func(context.Context, index.Query) error) *cobra.Command {
	var q index.Query
	var since string
	cmd := &cobra.Command{
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if q.Since, err = parseSince(since, time.Now()); err != nil {
				return &exitError{usage, err}
			}
			if len(args) == 1 {
				q.Text = args[0]
				if !index.HasWord(q.Text) {
					return &exitError{usage, fmt.Errorf("%q has no letter or digit to search for: give a word", q.Text)}
				}
			}
			return run(cmd.Context(), q)
		},
	}
	indexFlag(a, cmd)
	flags := cmd.Flags()
	for _, f := range []struct {
		to         *string
		name, what string
	}{
		{&q.Workload, "workload", "of this workload or run"},
		{&q.Namespace, "namespace", "from pods in this namespace"},
		{&q.Pod, "pod", "from the pod of this name"},
		{&q.ServiceAccount, "service-account", "from pods with this service account"},
		{&q.Target, "target", "to this target"},
		{&q.Protocol, "protocol", "of this protocol"},
		{&q.User, "user", "of sessions logged in as this user"},
		{&q.Database, "database", "to this database"},
		{&q.Verb, "verb", "with this verb, as delete"},
		{&q.Table, "table", "that name this table, with or without its schema"},
		{&q.Verdict, "verdict", "with this verdict: allow, mask, deny, close or hold"},
		{&q.Rule, "rule", "that this rule decided"},
		{&q.Approval, "approval", "that this approval was asked for"},
	} {
		flags.StringVar(f.to, f.name, "", "only statements "+f.what)
	}
	flags.StringVar(&since, "since", "", "only statements since then")
	return cmd
}

func (a *app) search(ctx context.Context, q index.Query) error {
	find := func(x *index.Index) ([]index.Statement, error) {
		found, err := x.Search(ctx, q)
		if found == nil {
			found = []index.Statement{}
		}
		return found, err
	}
	return searchIn(ctx, a, find, func(found []index.Statement) { a.writeFound(found, q.Limit) })
}

// searchIn asks the index, which is built anew if it does not answer, and prints.
func searchIn[T any](ctx context.Context, a *app, ask func(*index.Index) (T, error), people func(T)) error {
	folder, file, err := a.whereIndex(ctx)
	if err != nil {
		return err
	}
	ids, temporary, err := a.mayIndex(folder)
	if err != nil {
		return err
	}
	if temporary != "" {
		defer os.RemoveAll(temporary)
		file = filepath.Join(temporary, "index")
	}
	if err := a.hiddenIn(folder); err != nil {
		return err
	}
	bar := a.newProgress("indexing")
	x, damage := index.Open(ctx, folder, file, bar.to, func(why string) { a.note("%s", why) }, ids...)
	bar.clear()
	if x == nil {
		return damage
	}
	answer, err := ask(x)
	x.Close()
	if err != nil && ctx.Err() == nil {
		a.note("the index is built anew: %v", err)
		if x, damage = index.Rebuild(ctx, folder, file, bar.to, ids...); x == nil {
			return damage
		}
		bar.clear()
		answer, err = ask(x)
		x.Close()
	}
	if err != nil {
		return err
	}
	if err := a.show(answer, func() { people(answer) }); err != nil {
		return err
	}
	return damage
}

func (a *app) writeFound(found []index.Statement, limit int) {
	t := &table{head: []string{"TIME", "SESSION", "SEQ", "WORKLOAD", "TARGET", "USER", "VERDICT", "RULE", "ROWS", "STATEMENT"}}
	ids := make([]string, len(found))
	for i := range found {
		ids[i] = found[i].Session
	}
	ids = shorten(ids)
	for i := range found {
		s := &found[i]
		row := t.add(moment(s.Time), ids[i], strconv.FormatUint(s.Seq, 10), s.Workload, s.Target, s.User,
			s.Verdict, s.Rule, number(s.Rows), strings.TrimSpace(s.Text))
		row[6].style = verdictStyles[s.Verdict]
	}
	a.write(t)
	switch {
	case len(found) == 0:
		a.note("no statement fits")
	case len(found) == limit:
		a.note("there may be more: go on with --after %d", found[limit-1].Cursor)
	}
}
