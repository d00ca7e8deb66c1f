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

	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
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
	var format, out string
	var ids []string
	cmd := choosing(a, "sessions", func(cmd *cobra.Command, q index.Query) error {
		write, ok := exports[format]
		switch {
		case a.format != "table":
			return &exitError{usage, errors.New("-o is not for exports: say how with --format")}
		case !ok:
			return &exitError{usage, fmt.Errorf("--format %q: give ndjson, csv or asciicast", format)}
		case format == "asciicast" && len(ids) != 1:
			return &exitError{usage, errors.New("an asciicast is of one session: give one ID")}
		case len(ids) > 0 && (q.Which != (recorder.Which{}) || q.Where != nil):
			return &exitError{usage, errors.New("give IDs, or flags that choose sessions, not both")}
		}
		q.Within = 0 // all of it
		export := func(w io.Writer) error { return a.export(cmd.Context(), ids, q, write(w)) }
		if out == "" {
			w := bufio.NewWriter(a.out)
			return errors.Join(export(w), w.Flush())
		}
		return writeWhole(out, export)
	})
	choose := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ids = args
		return choose(cmd, nil)
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.Use = "export [ID...]"
	cmd.Short = "Write sessions for other programs: NDJSON, CSV or asciicast"
	cmd.Long = `Export writes sessions, those with the given IDs or all that fit the flags, one
after the other.

ndjson  a line for each session (its "type" is session), and one for each thing
        asked (entry), with all that the record has. Texts that are not UTF-8
        have their exact bytes in text_raw, in base64.
csv     a row for each thing asked, for spreadsheets. A field that a spreadsheet
        would take for a formula, as it begins with = + - @, has a ' before it.
asciicast  one session as replay shows it, with its own timing: for asciinema
        play, and for whatever else plays asciicast v2.

` + aboutWhere + `

` + aboutTimes
	cmd.Example = `  agentctl sessions export 4KQ7 > session.ndjson
  agentctl sessions export --since 7d --denied --format csv --out denied.csv
  agentctl sessions export 4KQ7 --format asciicast --out session.cast`
	flags := cmd.Flags()
	flags.StringVar(&format, "format", "ndjson", "ndjson, csv or asciicast")
	flags.StringVar(&out, "out", "", "write to this `FILE`, which only its owner may read")
	flags.MarkHidden("within")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"ndjson", "csv", "asciicast"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// export writes the sessions with these ids, or those that q chooses. What is
// damaged is left out, and is an error at the end.
func (a *app) export(ctx context.Context, ids []string, q index.Query, to exporter) error {
	var damage error
	if len(ids) == 0 {
		if ids, damage = a.chosen(ctx, q); len(ids) == 0 {
			return damage
		}
	}
	for _, id := range ids {
		s, err := a.session(ctx, id)
		if err != nil {
			return errors.Join(damage, err)
		}
		if err := to.session(s.Transcript); err != nil {
			return fmt.Errorf("write session %s: %w", s.ID, err)
		}
		if damage == nil {
			damage = damaged(s.Damage)
		}
	}
	return damage
}

// chosen returns the ids of the sessions that q chooses, the latest last.
func (a *app) chosen(ctx context.Context, q index.Query) (ids []string, err error) {
	take := func(list []index.Listed) {
		for i := range list {
			ids = append(ids, list[i].ID)
		}
	}
	err = searchIn(ctx, a, func(x *index.Index) ([]index.Listed, error) {
		page, err := x.Sessions(ctx, q)
		slices.Reverse(page.Sessions)
		return page.Sessions, err
	}, take)
	f, ok := simple(&q)
	if !errors.Is(err, errNoIndex) || !ok {
		return ids, err
	}
	client := a.client()
	defer client.Close()
	answer, err := client.Sessions(ctx, f)
	for i := range answer.Sessions {
		ids = append(ids, answer.Sessions[i].ID)
	}
	return ids, errors.Join(err, damaged(answer.Damage))
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
