package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

func newSessionsReplay(a *app) *cobra.Command {
	var speed float64
	var noWait bool
	var file string
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Tell a session again, statement by statement",
		Long: `Replay prints a session as it went: when each statement came, counted from the
session's start, what the policy said to it, and what came of it.

On a terminal it keeps the session's own pace, with pauses cut to three seconds;
--speed 10 goes ten times as fast, --speed 0 or --no-wait shows all at once.
When the output is no terminal, all is printed at once.`,
		Example: "  agentctl sessions replay 4KQ7\n  agentctl sessions replay 4KQ7 --no-wait | less",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if speed < 0 {
				return &exitError{usage, fmt.Errorf("--speed %v: give 0 for at once, or how many times as fast", speed)}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			s, err := a.session(ctx, args[0])
			if err != nil {
				return err
			}
			if file != "" {
				return errors.Join(a.writePage(ctx, s.Transcript, file), damaged(s.Damage))
			}
			pace := speed
			if noWait || a.outWidth == 0 && !cmd.Flags().Changed("speed") {
				pace = 0
			}
			if err := a.show(s, func() { a.replay(ctx, s.Transcript, pace) }); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return &exitError{code: interrupted}
			}
			return damaged(s.Damage)
		},
	}
	cmd.Flags().Float64Var(&speed, "speed", 1, "how many times as fast as it went; 0 for at once")
	cmd.Flags().StringVar(&a.key, "key", "", "`file` with the node's public key, for --html to verify the session")
	cmd.Flags().StringVar(&file, "html", "", "write a page that plays the session to this `FILE`, in place of playing it here")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "show all at once")
	return cmd
}

// maxPause is how long a replay waits for the next statement at most.
const maxPause = 3 * time.Second

// replay prints s at speed times its own pace, at once if speed is 0, until ctx
// ends.
func (a *app) replay(ctx context.Context, s *recorder.Transcript, speed float64) {
	a.writeSummary(&s.Summary)
	before := s.Start
	for _, e := range s.Entries {
		if speed > 0 && !pause(ctx, min(time.Duration(float64(e.Time.Sub(before))/speed), maxPause)) {
			return
		}
		before = e.Time
		fmt.Fprintln(a.out)
		a.writeEntry(a.out, s, e)
	}
	fmt.Fprintf(a.out, "\n%s  %s\n", a.paint(dim, fmt.Sprintf("%10s", end(s))), a.paint(stateStyles[s.State], printable(state(&s.Summary))))
}

// pause waits for d, false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// end is when a session ended, counted from its start.
func end(s *recorder.Transcript) string {
	if s.End.IsZero() {
		return ""
	}
	return fmt.Sprintf("+%.3fs", s.End.Sub(s.Start).Seconds())
}

// margin is the width of the column that times stand in. Further lines of a
// statement have a bar there, so that none can pass for a verdict.
const (
	margin = "            "
	gutter = "          | "
)

// writeEntry prints one entry: its text, and below it verdict and outcome.
func (a *app) writeEntry(w io.Writer, s *recorder.Transcript, e *recorder.Entry) {
	text := printable(strings.TrimRight(statement(e), " \t\r\n"))
	if e.Kind == "own" { // its first line says what it is for
		text, _, _ = strings.Cut(text, "\n")
	}
	switch {
	case e.Kind != "request":
		text = strings.TrimRight(a.paint(bold, oneLine(e.Kind))+" "+text, " ")
	case text == "":
		text = a.paint(dim, "(empty)")
	}
	fmt.Fprintf(w, "%s  %s\n", a.paint(dim, fmt.Sprintf("%10s", offset(s, e))), indent(text, gutter))
	a.writeAnswer(w, "", &e.Answer)
	if e.Result != nil {
		a.writeAnswer(w, "result ", e.Result)
	}
	for _, c := range e.Columns {
		if c.Masked {
			fmt.Fprintf(w, "%s%s\n", margin, oneLine(column(c)))
		}
	}
	a.writeDone(w, e)
}

// writeAnswer prints a verdict with its rule and reason.
func (a *app) writeAnswer(w io.Writer, what string, answer *recorder.Answer) {
	if answer.Verdict == "" {
		return
	}
	line := what + a.paint(verdictStyles[answer.Verdict], oneLine(answer.Verdict))
	if answer.Rule != "" {
		line += " by " + oneLine(answer.Rule)
	}
	for _, why := range []string{named("not understood:", answer.Unclassified), answer.Reason, answer.Hint} {
		if why != "" {
			line += "\n" + margin + "  " + oneLine(why)
		}
	}
	for _, s := range answer.Shadows {
		line += "\n" + margin + "  " + oneLine(s.Rule+", in shadow mode, would say "+s.Verdict)
	}
	for _, rule := range answer.Alerts {
		line += "\n" + margin + "  " + oneLine("alert "+rule)
	}
	fmt.Fprintf(w, "%s%s\n", margin, line)
}

// column names a masked column and what its values became.
func column(c recorder.Column) string {
	as := "NULL"
	if c.As != "" {
		as = fmt.Sprintf("%q", c.As)
	}
	name := c.Column
	for _, outer := range []string{c.Table, c.Schema} {
		if outer != "" {
			name = outer + "." + name
		}
	}
	if c.Derived {
		name = "a value of " + name
	}
	return fmt.Sprintf("masked %s as %s", name, as)
}

// writeDone prints what a statement came to.
func (a *app) writeDone(w io.Writer, e *recorder.Entry) {
	d := e.Done
	switch {
	case e.Kind == "gap":
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(red, outcome(e)))
	case d == nil && (e.Kind != "request" || e.Verdict == "deny" || e.Verdict == "close"):
	case d == nil:
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(dim, "no outcome was recorded"))
	case d.Skipped:
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(dim, "not run: an earlier error, or the end of the session, came first"))
	case d.Code != "":
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(yellow, joined("error "+d.Code, d.Message, brief(d.Took))))
	default:
		masked := ""
		if d.Masked > 0 {
			masked = plural(d.Masked, "value") + " masked" + by(d.By)
		}
		fmt.Fprintf(w, "%s%s\n", margin, a.paint(dim, joined(d.Tag, plural(d.Rows, "row"), size(d.Bytes), masked, brief(d.Took))))
	}
}

// by tells what was masked, by rule or pattern, the most of it first.
func by(counts map[string]int64) string {
	if len(counts) == 0 {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %d", oneLine(name), counts[name])
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
