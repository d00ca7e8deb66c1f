package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
	"agentd.dev/recorder"
)

// exports are the formats of sessions export, with what writes each.
var exports = map[string]func(io.Writer) exporter{
	"ndjson":    func(w io.Writer) exporter { return ndjson{w} },
	"csv":       func(w io.Writer) exporter { return &sheet{Writer: csv.NewWriter(w)} },
	"asciicast": func(w io.Writer) exporter { return cast{ndjson{w}} },
}

// An exporter writes sessions, one after the other.
type exporter interface {
	session(s *recorder.Transcript) error
}

func newSessionsExport(a *app) *cobra.Command {
	var f control.SessionFilter
	var since, format, out string
	cmd := &cobra.Command{
		Use:   "export [ID...]",
		Short: "Write sessions for other programs: NDJSON, CSV or asciicast",
		Long: `Export writes sessions, those with the given IDs or all that fit the flags, one
after the other.

ndjson  a line for each session (its "type" is session), and one for each thing
        asked (entry), with all that the record has. Texts that are not UTF-8
        have their exact bytes in text_raw, in base64.
csv     a row for each thing asked, for spreadsheets. A field that a spreadsheet
        would take for a formula, as it begins with = + - @, has a ' before it.
asciicast  one session as replay shows it, with its own timing: for asciinema
        play, and for whatever else plays asciicast v2.`,
		Example: `  agentctl sessions export 4KQ7 > session.ndjson
  agentctl sessions export --since 7d --denied --format csv --out denied.csv
  agentctl sessions export 4KQ7 --format asciicast --out session.cast`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.Since, err = parseSince(since, time.Now()); err != nil {
				return &exitError{usage, err}
			}
			write, ok := exports[format]
			switch filtered := f != (control.SessionFilter{}); {
			case !ok:
				return &exitError{usage, fmt.Errorf("--format %q: give ndjson, csv or asciicast", format)}
			case format == "asciicast" && len(args) != 1:
				return &exitError{usage, errors.New("an asciicast is of one session: give one ID")}
			case len(args) > 0 && filtered:
				return &exitError{usage, errors.New("give IDs, or flags that choose sessions, not both")}
			}
			export := func(w io.Writer) error { return a.export(cmd.Context(), args, f, write(w)) }
			if out == "" {
				w := bufio.NewWriter(a.out)
				return errors.Join(export(w), w.Flush())
			}
			return writeWhole(out, export)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&format, "format", "ndjson", "ndjson, csv or asciicast")
	flags.StringVar(&out, "out", "", "write to this `FILE`, which only its owner may read")
	flags.StringVar(&f.Workload, "workload", "", "only sessions of this workload or run")
	flags.StringVar(&f.Namespace, "namespace", "", "only sessions from pods in this namespace")
	flags.StringVar(&f.Pod, "pod", "", "only sessions from the pod of this name")
	flags.StringVar(&f.Target, "target", "", "only sessions to this target")
	flags.StringVar(&f.Claim, "claim", "", "only sessions that claim this: KEY=VALUE")
	flags.StringVar(&since, "since", "", "only sessions that started since then")
	flags.BoolVar(&f.Denied, "denied", false, "only sessions in which something was refused")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"ndjson", "csv", "asciicast"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// export writes the sessions with these ids, or those that f chooses.
func (a *app) export(ctx context.Context, ids []string, f control.SessionFilter, to exporter) error {
	var why []string
	if len(ids) == 0 {
		list, err := askOrRead(ctx, a,
			func(ctx context.Context, c *control.Client) (control.Sessions, error) { return c.Sessions(ctx, f) },
			func(folder string) (control.Sessions, error) { return control.ReadSessions(folder, f) })
		if err != nil {
			return err
		}
		for i := range list.Sessions {
			ids = append(ids, list.Sessions[i].ID)
		}
		why = append(why, list.Damage)
	}
	for _, id := range ids {
		s, err := a.session(ctx, id)
		if err != nil {
			return err
		}
		if err := to.session(s.Transcript); err != nil {
			return fmt.Errorf("write session %s: %w", s.ID, err)
		}
		why = append(why, s.Damage)
	}
	why = slices.DeleteFunc(slices.Compact(why), func(s string) bool { return s == "" })
	return damaged(strings.Join(why, "; "))
}

// An ndjson writes each session and each entry as a line.
type ndjson struct{ io.Writer }

// line writes v so that it is safe on a terminal, and reads as the same.
func (n ndjson) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = n.Write(append(escapeJSON(text), '\n'))
	return err
}

func (n ndjson) session(s *recorder.Transcript) error {
	err := n.line(struct {
		Type string `json:"type"`
		recorder.Summary
	}{"session", s.Summary})
	for _, e := range s.Entries {
		err = errors.Join(err, n.line(struct {
			Type    string `json:"type"`
			Session string `json:"session"`
			*recorder.Entry
		}{"entry", s.ID, e}))
	}
	return err
}

// A sheet writes each entry as a row.
type sheet struct {
	*csv.Writer
	begun bool
}

// sheetHead names the columns of a sheet.
var sheetHead = []string{
	"session", "workload", "namespace", "pod", "target", "user", "database", "seq", "time", "kind", "verdict", "rule", "reason",
	"approval", "approved_by", "statement", "result", "code", "message", "rows", "bytes", "changed", "masked", "seconds",
}

func (t *sheet) session(s *recorder.Transcript) error {
	if !t.begun {
		t.begun = true
		if err := t.Write(sheetHead); err != nil {
			return err
		}
	}
	for _, e := range s.Entries {
		if err := t.Write(sheetRow(s, e)); err != nil {
			return err
		}
	}
	t.Flush()
	return t.Error()
}

func sheetRow(s *recorder.Transcript, e *recorder.Entry) []string {
	v := verdict(e)
	var by []string
	for _, vote := range e.Votes {
		if vote.What == "granted" || vote.What == "agreed" {
			by = append(by, vote.By)
		}
	}
	row := []string{
		s.ID, s.Workload, s.Namespace, s.Pod, s.Target, s.User, s.Database, strconv.FormatUint(e.Seq, 10), e.Time.UTC().Format(time.RFC3339Nano),
		e.Kind, v.Verdict, v.Rule, v.Reason, e.Approval, strings.Join(by, ", "), statement(e), outcome(e),
	}
	d := e.Done
	if d == nil {
		d = &recorder.Done{}
	}
	row = append(row, d.Code, d.Message)
	for i := range row {
		row[i] = inert(row[i])
	}
	if e.Done == nil {
		return append(row, "", "", "", "", "")
	}
	return append(row, number(d.Rows), number(d.Bytes), number(d.Affected), number(d.Masked), strconv.FormatFloat(d.Took.Seconds(), 'f', -1, 64))
}

// inert returns a field that a spreadsheet does not take for a formula, and a
// terminal does not obey.
func inert(s string) string {
	s = printable(s)
	if trimmed := strings.TrimLeft(s, " \n"); trimmed != "" && strings.ContainsRune("=+-@＝＋－＠|%", []rune(trimmed)[0]) {
		return "'" + s
	}
	return s
}
