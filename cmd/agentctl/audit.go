package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

func newAudit(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check that the record was not tampered with",
		Long: `Audit checks the log by itself, trusting neither agentd nor the machine it ran
on: it needs the log folder and the node's public key, and nothing else.

Without --dir and --key it asks agentd where they are. To trust the answer,
give with --key a copy of the key that you kept elsewhere.`,
		Example: `  agentctl audit verify
  agentctl audit checkpoint > kept-elsewhere.txt
  agentctl audit verify --dir ./copied-log --key node-1.pub --checkpoint kept-elsewhere.txt
  agentctl audit prove 3F7K --out session.proof
  agentctl audit verify session.proof --key node-1.pub
  agentctl audit verify --witness witness.example/w1+1a2b3c4d+BA... --since 24h
  agentctl audit consistency monday.txt friday.txt
  agentctl audit rotate-key`,
	}
	folderFlag(a, cmd)
	cmd.PersistentFlags().StringVar(&a.key, "key", "", "file with the node's public key, from where you trust it")
	cmd.AddCommand(newAuditVerify(a), newAuditCheckpoint(a), newAuditProve(a), newAuditConsistency(a), newAuditRotateKey(a), newAuditHold(a), newAuditRelease(a))
	return group(cmd)
}

func newAuditVerify(a *app) *cobra.Command {
	var kept, witnesses []string
	var session, since string
	cmd := &cobra.Command{
		Use:   "verify [BUNDLE]",
		Short: "Check every record and every signed checkpoint",
		Long: `Verify reads the whole log and checks each record, the order of records, and
each signed checkpoint. Records after the last checkpoint (the unsigned tail)
are chained but not yet signed for: who can write the folder can rewrite them.
agentd signs every second or so, so that more than a few are suspicious. After a
crash it signs what it finds; these records are told as adopted.

It exits with 1 when something was changed, removed, added or put in another
order, and names the first record where that shows.

The log alone cannot show that its end was cut off together with the
checkpoints that covered it. A checkpoint kept elsewhere (audit checkpoint) and
given with --checkpoint does; give as many as you have, in one file or several.
agentd writes them to its own log, too (record.heartbeat): lines of that, kept
where this node cannot write, will do as they are.

With --witness, verify demands that the witness with this key has cosigned
checkpoints of the log, as they are kept beside it, and compares the log with
them. Root on the node can make none of those up; it can remove the newest.

With --since, a time, how long ago, or a file with a checkpoint, only the end of
the log is read. What is before that is not: the next checkpoint says whether its
hashes are right, and the report, how much it is.

A log whose key was rotated (audit rotate-key) is checked with the oldest public
key that you trust: it leads to those after it. With a newer one, the report says
where its trust begins.

Of a BUNDLE that audit prove wrote, verify checks that every record in it is one
that the node signed for, and that none of the session's is missing. It needs no
log for that; --key takes the file or the key itself.`,
		Example: "  agentctl audit verify\n  agentctl audit verify --checkpoint kept-elsewhere.txt -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if len(kept) > 0 || len(witnesses) > 0 || a.dir != "" || session != "" || since != "" {
					return errors.New("a bundle is checked by itself: leave out --dir, --session, --since, --witness and --checkpoint")
				}
				return a.verifyBundle(args[0])
			}
			if session != "" {
				if len(kept) > 0 || len(witnesses) > 0 || since != "" {
					return errors.New("checkpoints from elsewhere are compared with the log, not a session: leave out --session, or --since, --witness and --checkpoint")
				}
				return a.verifySession(cmd.Context(), session)
			}
			var opts recorder.VerifyOptions
			for _, file := range kept {
				text, err := os.ReadFile(file)
				if err != nil {
					return fmt.Errorf("read the checkpoint kept elsewhere: %w", err)
				}
				if len(text) == 0 {
					return fmt.Errorf("%s is empty: give a file that holds what audit checkpoint printed", file)
				}
				opts.Checkpoints = append(opts.Checkpoints, checkpointsIn(text)...)
			}
			if err := givenWitnesses(&opts, witnesses); err != nil {
				return err
			}
			if err := givenSince(&opts, since); err != nil {
				return err
			}
			return a.verify(cmd.Context(), opts)
		},
	}
	cmd.Flags().StringVar(&session, "session", "", "check this session alone, as the last checkpoint covers it")
	cmd.Flags().StringArrayVar(&witnesses, "witness", nil, "verifier key of a witness that must have cosigned the log, or a file with it (repeatable)")
	cmd.Flags().StringVar(&since, "since", "", "read only what is since then: a time, how long ago as 24h, or a file with a checkpoint")
	cmd.Flags().StringArrayVar(&kept, "checkpoint", nil, "file with checkpoints that were kept elsewhere (repeatable)")
	return cmd
}

// logged is a checkpoint in a line of agentd's log.
var logged = regexp.MustCompile(`\bmsg=checkpoint\b.*\bnote="?([A-Za-z0-9+/]+=*)`)

// checkpointsIn returns the checkpoints of a file: those in lines of agentd's
// log if there are any, else the file as it is.
func checkpointsIn(text []byte) [][]byte {
	var all [][]byte
	for _, line := range logged.FindAllSubmatch(text, -1) {
		note, err := base64.StdEncoding.AppendDecode(nil, line[1])
		if err != nil {
			note = line[0] // is no checkpoint, and will be said to be none
		}
		all = append(all, note)
	}
	if all == nil {
		return [][]byte{text}
	}
	return all
}

func (a *app) verify(ctx context.Context, opts recorder.VerifyOptions) error {
	folder, key, err := a.logAndKey(ctx)
	if err != nil {
		return err
	}
	if opts.Identities, err = a.identities(); err != nil {
		return err
	}
	bar := a.newProgress("verifying")
	opts.Progress = bar.to
	report, err := recorder.Verify(folder, key, opts)
	bar.clear()
	if err != nil {
		return fmt.Errorf("verify %s: %w", folder, err)
	}
	if err := a.show(report, func() { a.writeReport(folder, &report) }); err != nil {
		return err
	}
	if !report.OK {
		return saidNo
	}
	return nil
}

// logAndKey returns the log folder and the text of its public key.
func (a *app) logAndKey(ctx context.Context) (folder, key string, err error) {
	folder, file, err := a.whereLog(ctx)
	if err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = adviceError{err, "give the node's public key with --key"}
	}
	if err != nil {
		return "", "", fmt.Errorf("read the public key: %w", err)
	}
	return folder, string(text), checkFolder(folder)
}

func (a *app) writeReport(folder string, r *recorder.Report) {
	if r.OK {
		a.fact("verified", green, "%s", folder)
	} else {
		a.fact("TAMPERED", red, "%s", folder)
		a.fact("first bad", red, "%s", r.Bad)
		if r.Bad.Session != "" {
			a.fact("", plain, "in session %s", r.Bad.Session)
		}
		if !r.Bad.LastGood.IsZero() {
			a.fact("", plain, "the last record before it that is certainly right is of %s", moment(r.Bad.LastGood))
		}
	}
	a.fact("records", plain, "%d right, in %s%s", r.Records, plural(r.Segments, "segment"), between(r))
	a.writeRest(r)
	a.fact("signed", plain, "%s by %s, with %s", plural(r.Signed, "record"), plural(r.Checkpoints, "checkpoint"), r.Key)
	a.fact("unsigned", plain, "%s after the last checkpoint", plural(r.Unsigned, "record"))
	if r.Encrypted > 0 {
		a.fact("encrypted", yellow, "%s encrypted, and only checked by their hashes: --identity FILE reads them", are(r.Encrypted))
	}
	for _, d := range r.Deleted {
		a.fact("deleted", yellow, "records %d to %d, from %s to %s, in %s, by the rule %q, the last on %s: their hashes are right",
			d.First, d.Last, moment(d.From), moment(d.To), plural(d.Segments, "segment"), d.Rule, moment(d.At))
	}
	for _, name := range r.Held {
		a.fact("held", plain, "by %q: nothing that it is of is deleted", name)
	}
	if r.Adopted > 0 {
		a.fact("adopted", yellow, "%s were signed only when agentd started again, as they were found after a crash", plural(r.Adopted, "record"))
	}
	if r.Torn != nil {
		a.fact("torn end", yellow, "%s at byte %d: being written, or cut short; what came after it, if anything, no checkpoint speaks for", r.Torn.Segment, r.Torn.Offset)
	}
}

// between says from when to when the records are.
func between(r *recorder.Report) string {
	if r.First.IsZero() || r.Last.IsZero() {
		return ""
	}
	return fmt.Sprintf(", from %s to %s", moment(r.First), moment(r.Last))
}

func newAuditCheckpoint(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the latest signed checkpoint, to keep elsewhere",
		Long: `Checkpoint prints the latest checkpoint as the node signed it: how many records
there are, and the root of the Merkle tree over them. Keep it where this node
cannot write; audit verify --checkpoint then shows whether the log still is what
it was, even if its end and its checkpoints were cut off together.`,
		Example: "  agentctl audit checkpoint > kept-elsewhere.txt",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, key, err := a.logAndKey(cmd.Context())
			if err != nil {
				return err
			}
			signed, err := recorder.LastCheckpoint(folder, key)
			if err != nil {
				return fmt.Errorf("read the checkpoints of %s: %w", folder, err)
			}
			lines := strings.SplitN(string(signed), "\n", 4)
			v := struct {
				Origin string      `json:"origin"`
				Size   json.Number `json:"size"`
				Root   string      `json:"root"`
				Signed string      `json:"signed"` // the whole, as audit verify --checkpoint takes it
			}{lines[0], json.Number(lines[1]), lines[2], string(signed)}
			return a.show(v, func() { fmt.Fprint(a.out, printable(string(signed))) })
		},
	}
}
