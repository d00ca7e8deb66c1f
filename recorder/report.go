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
	// Quiet is the longest time between two records while agentd recorded, and
	// QuietUntil its end; Heartbeat is how long it should be at most, as the log
	// says itself, 0 if it promises nothing.
	Quiet      time.Duration `json:"quiet"`
	QuietUntil time.Time     `json:"quiet_until,omitzero"`
	Heartbeat  time.Duration `json:"heartbeat"`
	// From is how many records before were not read, and Confirmed how many the
	// first checkpoint after is of, which says that their hashes are right; Passed
	// are checkpoints kept elsewhere that are of fewer than From, and were not
	// compared.
	From      int64 `json:"from,omitempty"`
	Confirmed int64 `json:"confirmed,omitempty"`
	Passed    int   `json:"passed,omitempty"`
	// Began is where the key's trust begins, if the log was handed on to it: what
	// is older is checked by the checkpoint of so many records, and not by those
	// of its own time.
	Began   int64      `json:"began,omitempty"`
	Rotated []Rotation `json:"rotated,omitempty"` // keys that the log was handed on to
	// Witnessed is what witnesses have cosigned, in the order of the keys given.
	Witnessed []Witnessing `json:"witnessed,omitempty"`
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

// A Rotation is a key that a log was handed on to.
type Rotation struct {
	Size int64  `json:"size"` // records under the checkpoint that both keys signed
	Key  string `json:"key"`
}

// A Witnessing is what one witness has cosigned of a log.
type Witnessing struct {
	Witness string    `json:"witness"` // name and hash of its key
	Count   int       `json:"count"`   // checkpoints
	Size    int64     `json:"size"`    // records under the last
	At      time.Time `json:"at"`      // when it cosigned that, by its own clock
	// Silence is the longest time between two in a row, and Until its end.
	Silence time.Duration `json:"silence"`
	Until   time.Time     `json:"until,omitzero"`
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
	RotationForged      = "key rotation forged"
	NotWitnessed        = "log not witnessed"
	WitnessForged       = "witnessed checkpoint forged"
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
