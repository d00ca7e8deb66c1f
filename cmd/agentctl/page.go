package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"agentd.dev/agentd/page"
	"agentd.dev/recorder"
)

// writePage writes a session's page to file. What the page shows is what is
// proven, if it is: not what was read at another time, or told by agentd.
func (a *app) writePage(ctx context.Context, s *recorder.Transcript, file string) error {
	proof, proven := a.prove(ctx, s.ID)
	if proven != nil {
		votes(proven, s)
		s = proven
	}
	version, _ := built()
	err := writeWhole(file, func(w io.Writer) error {
		return page.Write(w, s, page.Page{Proof: proof, Version: version, Made: time.Now()})
	})
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	a.note("session %s is in %s: %s", s.ID, file, proof.Words)
	if proof.State == page.Disproven {
		return saidNo
	}
	return nil
}

// prove looks for the proof of a session, and returns what it is of.
func (a *app) prove(ctx context.Context, id string) (page.Proof, *recorder.Transcript) {
	if a.dir != "" && a.key == "" { // this node's key need not be that folder's
		return page.Proof{State: page.Unproven, Words: "Not verified: no public key was given, with --key.", Log: a.dir}, nil
	}
	folder, key, err := a.logAndKey(ctx)
	if err != nil {
		return page.Proof{State: page.Unproven, Words: fmt.Sprintf("Not verified: %v.", err), Log: a.dir}, nil
	}
	p := page.Proof{State: page.Unproven, Log: folder}
	ids, err := a.identities()
	if err != nil {
		return page.Proof{State: page.Unproven, Words: fmt.Sprintf("Not verified: %v.", err), Log: folder}, nil
	}
	bar := a.newProgress("proving")
	b, err := recorder.Prove(folder, key, id, bar.to, ids...)
	bar.clear()
	if err != nil {
		p.State, p.Words = page.Disproven, fmt.Sprintf("Not proven: %v.", err)
		return p, nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		p.Words = fmt.Sprintf("Not verified: %v.", err)
		return p, nil
	}
	r, err := recorder.CheckBundle(text, key)
	p.Key, p.Size, p.Root = r.Key, r.Signed, r.Root
	proven, told := b.Transcript()
	switch err := errors.Join(err, told); {
	case err != nil:
		p.Words = fmt.Sprintf("Not verified: %v.", err)
		return p, nil
	case r.OK:
		p.State, p.Words = page.Proven, fmt.Sprintf("Verified: all %s of this session lead to a root that %s has signed, and none is missing.", plural(r.Records, "record"), r.Key)
	case r.Bad != "":
		p.State, p.Words = page.Disproven, fmt.Sprintf("Not proven: %s.", r.Bad)
	case len(r.Missing) > 0:
		p.Words = fmt.Sprintf("Verified in part: %s lead to a root that %s has signed, and records of the session are missing.", plural(r.Records, "record"), r.Key)
	default:
		p.Words = fmt.Sprintf("Verified as far as it goes: %s lead to a root that %s has signed, and the end of the session is not among them.", plural(r.Records, "record"), r.Key)
	}
	return p, proven
}

// votes gives the proven entries what became of their approvals, which is in the
// log and not among the session's records.
func votes(to, from *recorder.Transcript) {
	bySeq := map[uint64][]recorder.Vote{}
	for _, e := range from.Entries {
		if len(e.Votes) > 0 {
			bySeq[e.Seq] = e.Votes
		}
	}
	last := map[uint64]*recorder.Entry{}
	for _, e := range to.Entries {
		if e.Approval != "" {
			last[e.Seq] = e
		}
	}
	for seq, e := range last {
		e.Votes = bySeq[seq]
	}
}

// writeWhole writes a file that only its owner may read, and that is whole or
// not there.
func writeWhole(file string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".agentctl-*")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = errors.Join(write(w), w.Flush(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
