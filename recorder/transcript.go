package recorder

import (
	"fmt"
	"strings"
	"time"
)

// A Transcript is everything that was recorded of a session.
type Transcript struct {
	Summary
	Entries []*Entry `json:"entries"`
}

// An Entry is one thing that was asked, with its answer and what came of it.
type Entry struct {
	Seq  uint64    `json:"seq,omitempty"`
	Kind string    `json:"kind"` // login, prepare, request, cancel, own; gap: records were lost
	Time time.Time `json:"time"`
	// Ref is the Seq of the prepare whose text is run, 0 if the request
	// brought its own.
	Ref uint64 `json:"ref,omitempty"`
	Text
	// Facts are what rules could ask about it. Nil: nothing, or it was
	// recorded by a version that keeps none; see Silence.Default.
	Facts       *Facts `json:"facts,omitempty"`
	Exceptional string `json:"exceptional,omitempty"` // why a login is
	// Claims are what the client said of why it asks: nobody has verified it.
	Claims map[string]string `json:"claims,omitempty"`
	Answer
	Columns []Column `json:"columns,omitempty"` // protected columns of the result
	// Result is what the policy said to these columns.
	Result *Answer `json:"result,omitempty"`
	// Rows are what the client was sent, in order: one for each result of which
	// rows were recorded.
	Rows []*Rows `json:"rows,omitempty"`
	// Votes are what became of its approval, in order.
	Votes []Vote `json:"votes,omitempty"`
	// Done is nil if no outcome was recorded.
	Done *Done `json:"done,omitempty"`
	Lost int64 `json:"lost,omitempty"` // of a gap: records
}

// Session returns the session whose id is, or alone begins with, prefix. With
// ErrDamaged it returns what could be read.
func (d *Folder) Session(prefix string) (*Transcript, error) {
	id, err := d.resolve(prefix)
	if err != nil {
		return nil, err
	}
	live, err := locked(d.open.dir)
	if err != nil {
		return nil, err
	}
	b := transcribing{id: id, bySeq: map[uint64]*Entry{}, votes: votes{}}
	err = d.each(b.add)
	if b.Transcript == nil {
		return nil, fmt.Errorf("session %s has no first record: %w", id, ErrDamaged)
	}
	if b.State == Live && !live {
		b.State, b.End = Interrupted, b.latest
	}
	b.votes.give(b.Entries)
	return b.Transcript, err
}

// resolve returns the only session id that begins with prefix.
func (d *Folder) resolve(prefix string) (string, error) {
	if prefix == "" {
		return "", fmt.Errorf("which session? `agentctl sessions list` shows their ids")
	}
	var ids []string
	exact := false
	err := d.each(func(payload []byte) error {
		if recordType(payload[1:]) != "open" {
			return nil
		}
		if id := string(sessionOf(payload)); strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
			exact = exact || id == prefix
		}
		return nil
	})
	switch {
	case exact:
		return prefix, nil
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		return "", fmt.Errorf("%d sessions begin with %q, %s and %s among them: give more of the id",
			len(ids), prefix, ids[0], ids[1])
	case err != nil:
		return "", err
	}
	if h, _ := d.Hidden(); h != (Hidden{}) {
		return "", fmt.Errorf("no session that can be read begins with %q: %v", prefix, h)
	}
	return "", fmt.Errorf("no session begins with %q: `agentctl sessions list` shows their ids", prefix)
}

// A transcribing is a transcript being made.
type transcribing struct {
	*Transcript
	id     string
	bySeq  map[uint64]*Entry
	votes  votes
	latest time.Time // of the session's records so far
}

func (b *transcribing) add(payload []byte) error {
	if session := sessionOf(payload); string(session) != b.id {
		if session == nil && recordType(payload[1:]) == "note" {
			b.votes.add(payload)
		}
		if session == nil && b.Transcript != nil && b.State == Live {
			b.meanwhile(payload)
		}
		return nil
	}
	r, err := parseRecord(payload)
	if err != nil {
		return nil // Verify names it
	}
	if r.Type != "interrupted" {
		b.latest = r.Time
	}
	switch {
	case r.Type == "open":
		b.Transcript = &Transcript{Summary: *summaryOf(r)}
	case b.Transcript == nil:
	case r.Type == "close", r.Type == "tls":
		b.update(r)
	case r.Type == "interrupted", r.Type == "resumed":
		if b.update(r); b.State == Interrupted {
			b.End = b.latest
		}
	case r.Type == "outcome":
		b.count(r)
		b.done(r)
	case r.Type == "result":
		b.count(r)
		e := b.entry(r)
		e.Columns, e.Result = r.Columns, &r.Answer
	case r.Shown != nil:
		e := b.entry(r)
		e.Rows = join(e.Rows, r.Shown)
	default:
		b.update(r)
		b.count(r)
		b.append(r)
	}
	return nil
}

// done adds an outcome to what it is of.
func (b *transcribing) done(r *record) {
	b.entry(r).Done = &r.Done
	for _, e := range b.Entries {
		if e.Seq > r.Seq && e.Seq <= r.Done.Through && e.Done == nil && e.Verdict != "deny" {
			e.Done = &r.Done
		}
	}
}

// meanwhile looks at what the recorder says of itself during the session.
func (b *transcribing) meanwhile(payload []byte) {
	r, err := parseRecord(payload)
	if err != nil {
		return
	}
	switch r.Type {
	case "gap":
		b.Entries = append(b.Entries, &Entry{
			Kind: "gap", Time: r.Since, Answer: Answer{Reason: r.Reason}, Lost: r.Lost,
		})
	case "start", "stop":
		if !r.Continues {
			b.State, b.End = Interrupted, b.latest
		}
	}
}

// append adds an entry for what was asked. A prepared text is told once, with
// its prepare; here it stands with every request that runs it.
func (b *transcribing) append(r *record) *Entry {
	e := &Entry{Seq: r.Seq, Kind: r.Type, Time: r.Time, Ref: r.Ref, Text: r.Text, Exceptional: r.Exceptional, Claims: r.Claims, Answer: r.Answer}
	e.Facts = r.facts(func(seq uint64) *Facts {
		if earlier := b.bySeq[seq]; earlier != nil {
			return earlier.Facts
		}
		return nil
	})
	if prepared := b.bySeq[r.Ref]; r.Ref != 0 && prepared != nil {
		e.Text, e.Claims = prepared.Text, prepared.Claims
	}
	b.Entries = append(b.Entries, e)
	if r.Seq != 0 {
		b.bySeq[r.Seq] = e
	}
	return e
}

// entry returns the entry that an outcome or a result belongs to, or one of
// its own if that was lost.
func (b *transcribing) entry(r *record) *Entry {
	if e := b.bySeq[r.Seq]; e != nil {
		return e
	}
	return b.append(&record{Seq: r.Seq, Type: r.Type, Time: r.Time})
}
