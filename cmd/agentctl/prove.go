package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

func newAuditProve(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "prove SESSION",
		Short: "Write a session and the proof of it into one file",
		Long: `Prove writes a bundle: the session's records as they are in the log, with proofs
that lead from each to the root of a checkpoint that the node signed. Whoever has
the bundle and the node's public key can check it with audit verify BUNDLE on
another machine, without the log: that no record was changed, and that none of
the session's is missing.

Records that are younger than the last checkpoint are not in it.`,
		Example: "  agentctl audit prove 3F7K --out session.proof\n  agentctl audit verify session.proof --key node-1.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, key, err := a.logAndKey(cmd.Context())
			if err != nil {
				return err
			}
			ids, err := a.identities()
			if err != nil {
				return err
			}
			bar := a.newProgress("proving")
			b, err := recorder.Prove(folder, key, args[0], bar.to, ids...)
			bar.clear()
			if err != nil {
				return fmt.Errorf("prove %s: %w", args[0], err)
			}
			text, err := json.MarshalIndent(b, "", " ")
			if err != nil {
				return fmt.Errorf("encode the bundle: %w", err)
			}
			text = append(text, '\n')
			if out == "" {
				_, err := a.out.Write(escapeJSON(text))
				return err
			}
			if err := os.WriteFile(out, text, 0o600); err != nil {
				return fmt.Errorf("write the bundle: %w", err)
			}
			a.note("%s of session %s proven in %s", plural(len(b.Records), "record"), b.Session, out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the bundle to this file")
	return cmd
}

// verifyBundle checks a bundle against a key that was given, in a file or as
// it is, and against the bundle's own only with a warning.
func (a *app) verifyBundle(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	key, err := a.givenKey()
	if err != nil {
		return err
	}
	return a.checkBundle(file, data, key)
}

// verifySession checks one session as if it had been handed on: with the
// records up to the last checkpoint, and no others.
func (a *app) verifySession(ctx context.Context, id string) error {
	folder, key, err := a.logAndKey(ctx)
	if err != nil {
		return err
	}
	ids, err := a.identities()
	if err != nil {
		return err
	}
	bar := a.newProgress("verifying")
	b, err := recorder.Prove(folder, key, id, bar.to, ids...)
	bar.clear()
	if err != nil {
		return fmt.Errorf("verify session %s: %w", id, err)
	}
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode the bundle: %w", err)
	}
	return a.checkBundle(folder, data, key)
}

// checkBundle checks a bundle that is from somewhere, and says what it found.
func (a *app) checkBundle(file string, data []byte, key string) error {
	r, err := recorder.CheckBundle(data, key)
	if err != nil {
		return fmt.Errorf("verify %s: %w", file, err)
	}
	if err := a.show(r, func() { a.writeBundleReport(file, &r) }); err != nil {
		return err
	}
	if r.OwnKey {
		a.note("WARNING: this was checked with the key in the bundle itself, so that whoever made the bundle can have made it all up: " +
			"give the node's public key, as you have it from elsewhere, with --key")
	}
	if !r.OK {
		return saidNo
	}
	return nil
}

// givenKey returns the text of the key of --key, which is a file or the key
// itself; "" without the flag.
func (a *app) givenKey() (string, error) {
	if a.key == "" {
		return "", nil
	}
	text, err := os.ReadFile(a.key)
	if errors.Is(err, fs.ErrNotExist) && strings.Count(a.key, "+") >= 2 {
		return a.key, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the public key: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return "", fmt.Errorf("%s is empty: give the node's public key", a.key)
	}
	return string(text), nil
}

func (a *app) writeBundleReport(file string, r *recorder.BundleReport) {
	switch {
	case r.Bad != "":
		a.fact("TAMPERED", red, "%s", file)
		a.fact("first bad", red, "%s", r.Bad)
	case !r.OK:
		a.fact("PART ONLY", yellow, "%s: what is there is genuine, and it is not shown to be all", file)
	case r.OwnKey:
		a.fact("agrees", yellow, "%s, with the key in it", file)
	default:
		a.fact("verified", green, "%s", file)
	}
	a.fact("session", plain, "%s, from %s to %s", r.Session, moment(r.First), moment(r.Last))
	a.fact("records", plain, "%d proven, of a log of %d", r.Records, r.Signed)
	for _, m := range r.Missing {
		why := "they were left out of the bundle, or never written"
		if m.Lost {
			why = "the log says that records could not be written then"
		}
		a.fact("missing", red, "numbers %d to %d of the session: %s", m.From, m.To, why)
	}
	if r.Bad == "" && !r.Closed {
		a.fact("no end", yellow, "the session's last record is not there: it was going on, was interrupted, or its end was left out")
	}
	a.fact("key", plain, "%s", r.Key)
}

func newAuditConsistency(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "consistency OLD NEW",
		Short: "Prove that between two checkpoints the log only grew",
		Long: `Consistency takes two files that hold a signed checkpoint each and proves, from
the log, that the later one's records begin with the earlier one's. Where they
do not, the node's key signed two histories: the log was forked.

It exits with 1 when they are not consistent.`,
		Example: "  agentctl audit consistency monday.txt friday.txt",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.consistency(cmd.Context(), args[0], args[1])
		},
	}
}

func (a *app) consistency(ctx context.Context, older, newer string) error {
	one, err := os.ReadFile(older)
	if err != nil {
		return fmt.Errorf("read the old checkpoint: %w", err)
	}
	two, err := os.ReadFile(newer)
	if err != nil {
		return fmt.Errorf("read the new checkpoint: %w", err)
	}
	folder, key, err := a.logAndKey(ctx)
	if err != nil {
		return err
	}
	bar := a.newProgress("proving")
	c, err := recorder.Consistent(folder, key, one, two, bar.to)
	bar.clear()
	if err != nil {
		return fmt.Errorf("compare the checkpoints: %w", err)
	}
	err = a.show(c, func() {
		if !c.OK {
			a.fact("NOT SO", red, "%s: %s", c.Kind, c.Bad)
			return
		}
		a.fact("grew", green, "from %d to %d records, and the first %d are the same", c.Old, c.New, c.Old)
		for _, hash := range c.Proof {
			a.fact("proof", plain, "%s", hash)
		}
	})
	if err == nil && !c.OK {
		return saidNo
	}
	return err
}
