package recorder

import (
	"fmt"
	"time"
)

// A Report is what Verify found.
type Report struct {
	OK          bool   `json:"ok"`
	Key         string `json:"key"`     // name and hash of the key the log was checked with
	Records     int64  `json:"records"` // that are right
	Segments    int    `json:"segments"`
	Checkpoints int    `json:"checkpoints"` // that are right
	Signed      int64  `json:"signed"`      // records that checkpoints cover
	Unsigned    int64  `json:"unsigned"`    // records after them: nothing speaks for these yet
	// Adopted are records that no checkpoint spoke for when recording went
	// on after a crash: they were signed then, as they were found.
	Adopted int64     `json:"adopted"`
	Root    string    `json:"root"` // of the Records
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	// Encrypted are segments of which the hashes were checked and the records
	// could not be read, as no identity for them was given.
	Encrypted int `json:"encrypted"`
	// Deleted is what rules of retention deleted, as the log itself says.
	Deleted []Deletion `json:"deleted,omitempty"`
	// Held are the holds in force.
	Held []string `json:"held,omitempty"`
	// Bad is the first thing that is wrong, nil if OK.
	Bad *Finding `json:"bad,omitempty"`
	// Torn is an unfinished write at the very end, which is not wrong: it is
	// being written, or a crash cut it short.
	Torn *TornEnd `json:"torn,omitempty"`
}

// A TornEnd is where whole records end and something else begins.
type TornEnd struct {
	Segment string `json:"segment"`
	Offset  int64  `json:"offset"`
}

// What can be wrong with a log.
const (
	Changed             = "record changed"
	Removed             = "record removed"
	Inserted            = "record inserted"
	Reordered           = "record reordered"
	Rewritten           = "records rewritten"
	Truncated           = "log truncated"
	SegmentMissing      = "segment missing"
	SegmentChanged      = "segment header changed"
	CheckpointMissing   = "checkpoint missing"
	CheckpointReordered = "checkpoint reordered"
	CheckpointForged    = "checkpoint forged"
	CheckpointWrongKey  = "checkpoint signed with another key"
	DeletedByNobody     = "contents deleted by nobody"
	DeletedHeld         = "contents deleted under legal hold"
	RolledBack          = "log rolled back"
	Forked              = "log forked" // the node's key signed two histories
)

// A Finding is something wrong with a log.
type Finding struct {
	Kind string `json:"kind"`
	// First is the index of the first record that is wrong, and Last of the
	// last that may be: they differ when it cannot be told more exactly.
	First   int64  `json:"first"`
	Last    int64  `json:"last"`
	Segment string `json:"segment,omitempty"`
	Offset  int64  `json:"offset,omitempty"` // in Segment, of the record First, or where it should be
	Session string `json:"session,omitempty"`
	// LastGood is the time of the last record that is certainly right.
	LastGood time.Time `json:"last_good,omitzero"`
	Want     string    `json:"want,omitempty"` // hash that the record had to have
	Got      string    `json:"got,omitempty"`
	Detail   string    `json:"detail"` // in a sentence
}

func (f *Finding) String() string {
	s := fmt.Sprintf("%s: record %d", f.Kind, f.First)
	if f.Last > f.First {
		s = fmt.Sprintf("%s: records %d to %d", f.Kind, f.First, f.Last)
	}
	if f.Segment != "" {
		s += fmt.Sprintf(" (%s at byte %d)", f.Segment, f.Offset)
	}
	return s + ": " + f.Detail
}
