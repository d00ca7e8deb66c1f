package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A BundleReport is what CheckBundle found.
type BundleReport struct {
	// OK is that every record is proven and none of the session's is missing.
	OK      bool   `json:"ok"`
	Session string `json:"session"`
	Key     string `json:"key"` // name and hash of the key it was checked with
	// OwnKey is that the key came with the bundle: then all this says only
	// that the bundle agrees with itself.
	OwnKey  bool      `json:"own_key"`
	Signed  int64     `json:"signed"`         // records in the log that the checkpoint is of
	Root    string    `json:"root,omitempty"` // that it signs
	Records int       `json:"records"`        // that are proven
	Begun   bool      `json:"begun"`          // the session's first record is there
	Closed  bool      `json:"closed"`         // and its last
	Missing []Missing `json:"missing,omitempty"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Bad     string    `json:"bad,omitempty"` // the first thing that is wrong
}

// A Missing is records of a session that are not there, by their numbers in it.
type Missing struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Lost is that the log itself says, with a gap record at this place, that
	// records could not be written.
	Lost bool `json:"lost"`
}

// CheckBundle checks a bundle with nothing but the verifier key; the bundle's
// own if that is "". What is wrong is in the report; an error means that data
// is no bundle, or verifierKey no key.
func CheckBundle(data []byte, verifierKey string) (BundleReport, error) {
	var b Bundle
	if err := json.Unmarshal(data, &b); err != nil {
		return BundleReport{}, fmt.Errorf("not a bundle of audit prove: %w", err)
	}
	if b.Format != BundleFormat {
		return BundleReport{}, fmt.Errorf("not a bundle of audit prove: its format is %q, not %q", b.Format, BundleFormat)
	}
	r := BundleReport{Session: b.Session}
	if verifierKey == "" {
		verifierKey, r.OwnKey = b.Key, true
	}
	key, err := note.NewVerifier(strings.TrimSpace(verifierKey))
	if err != nil {
		return r, fmt.Errorf("verifier key: %w", err)
	}
	r.Key = keyName(key)
	if err := r.check(&b, key); err != nil {
		r.Bad = err.Error()
	}
	r.OK = r.Bad == "" && r.Begun && r.Closed && len(r.Missing) == 0
	return r, nil
}

func (r *BundleReport) check(b *Bundle, key note.Verifier) error {
	ring := keyring{keys: []note.Verifier{key}, since: []int64{0}}
	for _, signed := range b.Rotations {
		ring.follow([]byte(signed))
	}
	c, err := ring.open([]byte(b.Checkpoint))
	if err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	r.Signed, r.Root = c.Size, c.Root.String()
	if len(b.Records) == 0 {
		return errors.New("there are no records")
	}
	s := numbering{report: r}
	index := int64(-1)
	for i := range b.Records {
		p := &b.Records[i]
		if p.Index <= index {
			return fmt.Errorf("record %d comes after record %d: repeated, or reordered", p.Index, index)
		}
		index = p.Index
		if err := p.check(c); err != nil {
			return err
		}
		if err := s.add(p); err != nil {
			return err
		}
		r.Records++
	}
	return nil
}

// check proves that the record is one of those that c is of.
func (p *ProvenRecord) check(c checkpoint) error {
	if p.Index >= c.Size {
		return fmt.Errorf("record %d is not among the %d that the checkpoint is of", p.Index, c.Size)
	}
	if tlog.CheckRecord(p.Proof, c.Size, c.Root, p.Index, tlog.RecordHash([]byte(p.Record))) != nil {
		return fmt.Errorf("record %d was changed, or moved, or is not of this log: its proof does not lead to the signed root", p.Index)
	}
	return nil
}

// A numbering follows the numbers that a session's records have in it. The
// node gave them as it recorded, so what it signed cannot leave one out unseen.
type numbering struct {
	report *BundleReport
	n      int64
	gap    bool // said by the log since the last record
}

func (s *numbering) add(p *ProvenRecord) error {
	var of struct { // what all records have, whatever else they do
		N       int64     `json:"n"`
		Type    string    `json:"type"`
		Time    time.Time `json:"time"`
		Session string    `json:"session"`
	}
	if err := json.Unmarshal([]byte(p.Record), &of); err != nil {
		return fmt.Errorf("record %d: not a record: %w", p.Index, err)
	}
	switch {
	case of.Type == "gap" && of.Session == "":
		s.gap = true
		return nil
	case of.Session != s.report.Session:
		return fmt.Errorf("record %d is of another session, %q", p.Index, of.Session)
	case of.N == 0: // of what became of the session's process: not numbered
		return nil
	case of.N <= s.n:
		return fmt.Errorf("record %d calls itself number %d of the session, after number %d", p.Index, of.N, s.n)
	case s.report.Closed:
		return fmt.Errorf("record %d comes after the session's last", p.Index)
	}
	if of.N != s.n+1 {
		s.report.Missing = append(s.report.Missing, Missing{s.n + 1, of.N - 1, s.gap})
	}
	if of.N == 1 {
		s.report.Begun = of.Type == "open"
		s.report.First = of.Time
	}
	s.n, s.gap = of.N, false
	s.report.Last = of.Time
	s.report.Closed = of.Type == "close"
	return nil
}

// Transcript returns what the bundle's records tell, checked or not. What became
// of approvals is not among them.
func (b *Bundle) Transcript() (*Transcript, error) {
	t := transcribing{id: b.Session, bySeq: map[uint64]*Entry{}, votes: votes{}}
	for i := range b.Records {
		if err := t.add(append([]byte{0}, b.Records[i].Record...)); err != nil {
			return nil, err
		}
	}
	if t.Transcript == nil {
		return nil, fmt.Errorf("session %s has no first record: %w", b.Session, ErrDamaged)
	}
	return t.Transcript, nil
}
