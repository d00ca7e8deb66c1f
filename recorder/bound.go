package recorder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// Of a segment that is encrypted or emptied, the tree proves the hashes alone. That
// its file is the one that agentd wrote is bound by a note, further on in the log,
// that has the file's hash: bindings compares the two, and what was deleted with
// what was held.
type bindings struct {
	files []boundFile                    // in order
	told  map[string]map[string]*logNote // by segment and hash
	holds map[string]*logNote
	freed []heldFile // emptied although held
}

// A boundFile is a segment's file as it is.
type boundFile struct {
	segment     string
	form        form
	sum         string
	first, last int64 // its records
	foot        *foot
}

type heldFile struct {
	segment string
	by      *logNote
}

// A Deletion is the deletion of the contents of segments by a rule.
type Deletion struct {
	Rule     string    `json:"rule"`
	Segments int       `json:"segments"`
	First    int64     `json:"first"` // records; of some between, agentd's own, more than the hash is kept
	Last     int64     `json:"last"`
	From     time.Time `json:"from,omitzero"` // when the first was recorded
	To       time.Time `json:"to,omitzero"`   // and the last
	At       time.Time `json:"at"`            // of the last of the deletions
}

// file notes the segment that was opened.
func (b *bindings) file(name string, s *opened) error {
	if s.form != encryptedForm && s.form != emptiedForm {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(s.file, 0, s.size)); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	first := s.before.tree.size
	b.files = append(b.files, boundFile{name, s.form, hex.EncodeToString(sum.Sum(nil)), first, first + s.foot.Records - 1, s.foot})
	return nil
}

// note notes what the log says of itself.
func (b *bindings) note(payload []byte) {
	n, ok := ownNote(payload)
	if !ok {
		return
	}
	switch n.Kind {
	case noteHold:
		if b.holds == nil {
			b.holds = map[string]*logNote{}
		}
		b.holds[n.Attrs.Hold] = n
		return
	case noteRelease:
		delete(b.holds, n.Attrs.Hold)
		return
	case noteEmptied:
		for _, h := range b.holds {
			if n.Attrs.Segment >= h.Attrs.From && (h.Attrs.To == "" || n.Attrs.Segment <= h.Attrs.To) {
				b.freed = append(b.freed, heldFile{n.Attrs.Segment, h})
			}
		}
	}
	if b.told == nil {
		b.told = map[string]map[string]*logNote{}
	}
	if b.told[n.Attrs.Segment] == nil {
		b.told[n.Attrs.Segment] = map[string]*logNote{}
	}
	b.told[n.Attrs.Segment][n.Attrs.SHA256] = n
}

// missing reports whether a file is not told of yet.
func (b *bindings) missing() bool {
	for i := range b.files {
		if f := &b.files[i]; b.told[f.segment][f.sum] == nil {
			return true
		}
	}
	return false
}

// conclude fills in what the log says was deleted, and returns the first file that
// is not what it says.
func (b *bindings) conclude(r *Report) *Finding {
	for i := range b.files {
		f := &b.files[i]
		n := b.told[f.segment][f.sum]
		want := noteSealed
		if f.form == emptiedForm {
			want = noteEmptied
		}
		if n == nil || n.Kind != want {
			return b.unsaid(f)
		}
		if f.form == emptiedForm {
			r.deleted(f, n)
		}
	}
	for _, f := range b.freed {
		for i := range b.files {
			if b.files[i].segment == f.segment && b.files[i].form == emptiedForm {
				return &Finding{
					Kind: DeletedHeld, First: b.files[i].first, Last: b.files[i].last, Segment: f.segment,
					Detail: fmt.Sprintf("its contents were deleted while %q held them, since record %d", f.by.Attrs.Hold, f.by.Index),
				}
			}
		}
	}
	return nil
}

// unsaid is about a file that no note tells of.
func (b *bindings) unsaid(f *boundFile) *Finding {
	bad := &Finding{Kind: SegmentChanged, First: f.first, Last: f.last, Segment: f.segment, Got: f.sum}
	for sum, n := range b.told[f.segment] {
		if n.Kind == noteSealed || f.form == emptiedForm && n.Kind == noteEmptied {
			bad.Want = sum
		}
	}
	if f.form == emptiedForm {
		bad.Kind = DeletedByNobody
		bad.Detail = fmt.Sprintf("its contents are deleted, and the log does not say so: the file calls the rule %q", f.foot.Rule)
		return bad
	}
	bad.Detail = "the hashes of its records are right, and what is encrypted is not what agentd wrote"
	return bad
}

// deleted adds an emptied segment to the report.
func (r *Report) deleted(f *boundFile, n *logNote) {
	if i := len(r.Deleted) - 1; i >= 0 && r.Deleted[i].Rule == n.Attrs.Rule && r.Deleted[i].Last+1 == f.first {
		d := &r.Deleted[i]
		d.Segments, d.Last, d.To, d.At = d.Segments+1, f.last, f.foot.Last, n.Time
		return
	}
	r.Deleted = append(r.Deleted, Deletion{
		Rule: n.Attrs.Rule, Segments: 1, First: f.first, Last: f.last, From: f.foot.First, To: f.foot.Last, At: n.Time,
	})
}
