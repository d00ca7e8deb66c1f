package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
)

func newSessionsTail(a *app) *cobra.Command {
	var follow bool
	lines := 10
	cmd := choosing(a, "statements", func(cmd *cobra.Command, q index.Query) error {
		if lines < 0 {
			return &exitError{usage, errors.New("--lines is not negative")}
		}
		err := a.tail(cmd.Context(), q, lines, follow)
		if cmd.Context().Err() != nil {
			return nil // the person has seen enough
		}
		return err
	})
	cmd.Use = "tail [TEXT]"
	cmd.Short = "Show the latest statements, and follow what comes"
	cmd.Long = `Tail shows the latest statements that fit, the latest last. With -f it goes on
with those that come, each when its outcome is there, or when it waits for people,
until it is interrupted. The flags are those of search.

What comes is told by agentd, or read from the folder if --dir is given or agentd
is down. A reader that is too slow is told how many records were left out.

` + aboutWhere
	cmd.Example = `  agentctl sessions tail -f
  agentctl sessions tail -f --verdict deny --namespace agents
  agentctl sessions tail -n 100 -o json | jq .text`
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().IntVarP(&lines, "lines", "n", lines, "so many of those that are there")
	return cmd
}

func (a *app) tail(ctx context.Context, q index.Query, lines int, follow bool) error {
	folder, file, err := a.whereIndex(ctx)
	if err != nil {
		return err
	}
	var page index.Page
	after := int64(-1)
	bar := a.newProgress("indexing")
	x, damage := index.Open(ctx, folder, file, bar.to, func(why string) { a.note("%s", why) })
	bar.clear()
	switch {
	case x != nil:
		after, err = x.Records(ctx)
		if q.Limit = lines; lines > 0 && err == nil {
			page, err = x.Search(ctx, q)
		}
		x.Close()
		if err != nil {
			return err
		}
	case !follow:
		return cannotIndex(damage)
	default:
		a.note("only what comes: %v", cannotIndex(damage))
	}
	slices.Reverse(page.Statements)
	for i := range page.Statements {
		if err := a.writeLine(&page.Statements[i]); err != nil {
			return err
		}
	}
	if !follow {
		a.end(len(page.Statements), "statement", page.Unknown, 0, page.Back)
		return damage
	}
	return a.follow(ctx, folder, q, after)
}

// follow prints what comes, from agentd or the folder.
func (a *app) follow(ctx context.Context, folder string, q index.Query, after int64) error {
	tell := func(t control.Told) error {
		if t.Lost > 0 {
			a.note("%s left out: this is too slow", plural(t.Lost, "record"))
			return nil
		}
		if q.Where != nil {
			o := t.Session
			if o == nil {
				o = &recorder.Summary{}
			}
			if fits, err := q.Where.Fits(t.Statement, o); err != nil || !fits {
				return err
			}
		}
		return a.writeLine(t.Statement)
	}
	if a.dir == "" {
		client := a.client()
		defer client.Close()
		err := client.Tail(ctx, control.TailFilter{Which: q.Which, After: after, Sessions: q.Where != nil}, tell)
		if !errors.Is(err, control.ErrNoDaemon) {
			return err
		}
		a.note("%v: following %s instead", err, folder)
	}
	log, err := recorder.OpenFolder(folder)
	if err != nil {
		return err
	}
	return log.Tail(ctx, after, func(s *recorder.Statement, o *recorder.Summary) error {
		if !q.Fits(s) {
			return nil
		}
		return tell(control.Told{Statement: s, Session: o})
	}, func(records int64) error { return tell(control.Told{Lost: records}) }, func() error { return nil })
}

// writeLine prints a statement in one line, of which nothing has to be aligned
// with what comes.
func (a *app) writeLine(s *recorder.Statement) error {
	if a.format != "table" {
		return a.line(s)
	}
	text := oneLine(s.Text)
	if s.Unreadable != "" {
		text = "(" + s.Unreadable + ")"
	}
	who := s.Workload
	if s.User != "" {
		who += " as " + s.User
	}
	words := []string{moment(s.Time), s.Session[:min(minID, len(s.Session))], oneLine(who), oneLine(s.Target), a.paint(verdictStyles[s.Verdict], oneLine(s.Verdict)), oneLine(s.Rule)}
	if s.Code != "" {
		words = append(words, a.paint(yellow, oneLine(s.Code)))
	} else {
		words = append(words, plural(s.Rows, "row"), brief(s.Took.Round(time.Microsecond)))
	}
	line := strings.Join(words, "  ")
	_, err := fmt.Fprintf(a.out, "%s  %s\n", line, cut(text, a.room(line)))
	return err
}

// room is how much of the terminal's line is left, 0 if it is none: everything.
func (a *app) room(line string) int {
	if a.outWidth == 0 {
		return 0
	}
	return max(20, a.outWidth-len(line)-2)
}
