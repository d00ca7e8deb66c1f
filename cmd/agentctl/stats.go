package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/recorder/index"
)

func newSessionsStats(a *app) *cobra.Command {
	top := 10
	cmd := choosing(a, "statements", func(cmd *cobra.Command, q index.Query) error {
		ctx := cmd.Context()
		return searchIn(ctx, a, func(x *index.Index) (index.Stats, error) { return x.Stats(ctx, q, top) }, a.writeStats)
	})
	cmd.Use = "stats [TEXT]"
	cmd.Short = "Count statements by workload, table and time"
	cmd.Long = `Stats counts the statements that hold TEXT and fit the flags: by the workloads
and tables that have the most, and over time. The flags are those of search.`
	cmd.Example = `  agentctl sessions stats --since 1d
  agentctl sessions stats --table customers -o json`
	cmd.Flags().IntVar(&top, "top", top, "so many workloads and tables")
	return cmd
}

func (a *app) writeStats(s index.Stats) {
	if s.Statements == 0 {
		a.end(0, "statement", s.Unknown, 0, time.Time{})
		return
	}
	fmt.Fprintf(a.out, "%d statements, %d denied\n", s.Statements, s.Denied)
	a.bars("WORKLOAD", s.Workloads, func(c index.Count) int64 { return c.Statements })
	a.bars("TABLE", s.Tables, func(c index.Count) int64 { return c.Statements })
	if s.Denied > 0 {
		a.bars("DENIED FROM", s.Over, func(c index.Count) int64 { return c.Denied })
	}
}

// bars draws a table whose last column is as long as of says.
func (a *app) bars(head string, all []index.Count, of func(index.Count) int64) {
	var largest int64 = 1
	for _, c := range all {
		largest = max(largest, of(c))
	}
	fmt.Fprintln(a.out)
	t := &table{head: []string{head, "STATEMENTS", "DENIED", ""}}
	for _, c := range all {
		t.add(c.Name, number(c.Statements), number(c.Denied), strings.Repeat("█", int(30*of(c)/largest)))
	}
	a.write(t)
}
