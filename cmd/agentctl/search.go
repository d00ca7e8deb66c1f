package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
)

func newSessionsSearch(a *app) *cobra.Command {
	limit, after := 50, int64(0)
	cmd := choosing(a, "statements", func(cmd *cobra.Command, q index.Query) error {
		if q.Limit, q.After = limit, after; q.Limit < 0 || q.After < 0 {
			return &exitError{usage, errors.New("--limit and --after are not negative: give --limit 0 for all")}
		}
		return a.search(cmd.Context(), q)
	})
	cmd.Use = "search [TEXT]"
	cmd.Short = "Find statements by their words and by what came of them"
	cmd.Long = `Search shows the latest statements that hold TEXT and fit the flags, the latest
first. TEXT is words that follow each other; a star at the end lets the last go
on, so that customer_ord* finds customer_orders. Without TEXT the flags alone
choose.

` + aboutIndex + `

` + aboutWhere + `

` + aboutTimes
	cmd.Example = `  agentctl sessions search customer_orders
  agentctl sessions search --table customers --verdict deny --since 7d
  agentctl sessions search 'drop table' -o json
  agentctl sessions search --where 'rows > 1000 && !("select" in sql.verbs)'`
	cmd.Flags().IntVar(&limit, "limit", limit, "so many at most; 0 for all")
	cmd.Flags().Int64Var(&after, "after", 0, "go on after the page that said so")
	return cmd
}

func (a *app) search(ctx context.Context, q index.Query) error {
	var page index.Page
	err := searchIn(ctx, a, func(x *index.Index) (found []recorder.Statement, err error) {
		page, err = x.Search(ctx, q)
		return page.Statements, err
	}, a.writeFound)
	if err == nil || len(page.Statements) > 0 {
		a.end(len(page.Statements), "statement", page.Unknown, page.Next, page.Back)
	}
	return err
}

// searchIn asks the index, which is built anew if it does not answer, and prints.
func searchIn[T any](ctx context.Context, a *app, ask func(*index.Index) (T, error), people func(T)) error {
	folder, file, err := a.whereIndex(ctx)
	if err != nil {
		return err
	}
	ids, temporary, err := a.mayIndex(folder)
	if err != nil {
		return cannotIndex(err)
	}
	if temporary != "" {
		defer os.RemoveAll(temporary)
		file = filepath.Join(temporary, "index")
	}
	if err := a.hiddenIn(folder); err != nil {
		return cannotIndex(err)
	}
	bar := a.newProgress("indexing")
	x, damage := index.Open(ctx, folder, file, bar.to, func(why string) { a.note("%s", why) }, ids...)
	bar.clear()
	if x == nil {
		return cannotIndex(damage)
	}
	answer, err := ask(x)
	x.Close()
	if err != nil && ctx.Err() == nil {
		a.note("the index is built anew: %v", err)
		if x, damage = index.Rebuild(ctx, folder, file, bar.to, ids...); x == nil {
			return cannotIndex(damage)
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

func (a *app) writeFound(found []recorder.Statement) {
	ids := make([]string, len(found))
	for i := range found {
		ids[i] = found[i].Session
	}
	ids = shorten(ids)
	t := &table{head: statementHead}
	for i := range found {
		a.addStatement(t, ids[i], &found[i])
	}
	a.write(t)
}

var statementHead = []string{"TIME", "SESSION", "SEQ", "WORKLOAD", "TARGET", "USER", "VERDICT", "RULE", "ROWS", "STATEMENT"}

func (a *app) addStatement(t *table, id string, s *recorder.Statement) {
	text := strings.TrimSpace(s.Text)
	if s.Unreadable != "" {
		text = "(" + s.Unreadable + ")"
	}
	row := t.add(moment(s.Time), id, strconv.FormatUint(s.Seq, 10), s.Workload, s.Target, s.User,
		s.Verdict, s.Rule, number(s.Rows), text)
	row[6].style = verdictStyles[s.Verdict]
}
