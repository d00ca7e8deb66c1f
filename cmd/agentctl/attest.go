package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

// givenWitnesses reads the keys of --witness, which are files or the keys
// themselves.
func givenWitnesses(opts *recorder.VerifyOptions, given []string) error {
	for _, text := range given {
		if data, err := os.ReadFile(text); err == nil {
			text = string(data)
		} else if !errors.Is(err, fs.ErrNotExist) || strings.Count(text, "+") < 2 {
			return fmt.Errorf("read the witness's key: %w", err)
		}
		key, err := recorder.ParseWitnessKey(text)
		if err != nil {
			return err
		}
		opts.Witnesses = append(opts.Witnesses, key)
	}
	return nil
}

// givenSince reads --since.
func givenSince(opts *recorder.VerifyOptions, since string) error {
	if since == "" {
		return nil
	}
	if text, err := os.ReadFile(since); err == nil {
		all := checkpointsIn(text)
		opts.SinceCheckpoint = all[len(all)-1] // of a journal, the last
		return nil
	}
	at, err := parseTime("since", since, time.Now())
	if err != nil {
		return fmt.Errorf("%w, or a file with a checkpoint", err)
	}
	opts.Since = at
	return nil
}

// writeRest writes what a report says besides how much is right.
func (a *app) writeRest(r *recorder.Report) {
	if r.From > 0 {
		a.fact("left out", yellow, "the %s before were not read; the checkpoint of %d says that their hashes are right", plural(r.From, "record"), r.Confirmed)
	}
	if r.Passed > 0 {
		a.fact("", plain, "%s kept elsewhere are older than what was read, and were not compared", plural(r.Passed, "checkpoint"))
	}
	if r.Began > 0 {
		a.fact("key", yellow, "the log was handed on to %s at %s: what was signed before that is not checked with it", r.Key, plural(r.Began, "record"))
	}
	for _, k := range r.Rotated {
		a.fact("rotated", plain, "to %s at %s", k.Key, plural(k.Size, "record"))
	}
	for _, w := range r.Witnessed {
		a.fact("witnessed", green, "%s by %s, %s the last time, as its clock says", plural(w.Size, "record"), w.Witness, moment(w.At))
		if w.Count > 1 {
			a.fact("", plain, "%s, at most %s apart, until %s", plural(w.Count, "cosignature"), w.Silence.Round(time.Second), moment(w.Until))
		}
	}
	if !r.QuietUntil.IsZero() {
		quiet := fmt.Sprintf("nothing was recorded for %s, until %s", r.Quiet.Round(time.Millisecond), moment(r.QuietUntil))
		if r.Heartbeat > 0 {
			quiet += fmt.Sprintf(" (a heartbeat is due every %s)", r.Heartbeat)
		}
		a.fact("silence", plain, "%s", quiet)
	}
}

func newAuditRotateKey(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-key",
		Short: "Have a new key sign the log from now on",
		Long: `Rotate-key has agentd make a new key and sign the log with it from now on. The
log says so, and one checkpoint is signed with both keys: who trusts the key of
before is led to the new one by audit verify. The key of before is deleted; its
public half stays beside the new one.

Witnesses that have the node's key in their configuration need the new one.`,
		Example: "  sudo agentctl audit rotate-key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := a.client()
			defer c.Close()
			rotated, err := c.RotateKey(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(rotated, func() {
				a.fact("before", plain, "%s", rotated.Before)
				a.fact("now", green, "%s", rotated.Now)
				a.fact("public key", plain, "%s", rotated.Key)
			})
		},
	}
}
