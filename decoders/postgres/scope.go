package postgres

import (
	"crypto/sha256"
	"hash"
	"slices"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// maxResolved is how many texts are remembered with what their names mean, and
// maxWeight how many names in all.
const (
	maxResolved = 512
	maxWeight   = 64 << 10
)

// A scoping is what the names of relations mean to a session whose rules ask
// for that (docs/decisions/0015-names-as-the-server-resolves-them.md). The
// server is asked at login, and again at each ReadyForQuery after a statement
// that may have changed the answer.
type scoping struct {
	wanted bool // a rule asks for that
	question
	next *sql.Scope        // while the server answers
	hash hash.Hash         // of what it said so far
	now  *sql.Scope        // nil before the first answer
	sum  [sha256.Size]byte // of that answer

	stale     bool // a statement that may change the answer was sent since
	unsettled bool // the end of the transaction may change it again
	// prepared is the answer under which statements were prepared that SQL can
	// run by name; mixed: there were several.
	prepared [sha256.Size]byte
	mixed    bool

	resolved map[*sql.Facts]*sql.Resolved // under now
	weight   int                          // of them
	last     struct {                     // that was unresolved
		*sql.Resolved
		meaning *sql.Meaning
		why     string
	}
}

func newScoping(want *decoders.Want) scoping {
	s := scoping{wanted: want.Grammar != nil && len(want.Fields) > 0}
	s.stale = s.wanted
	return s
}

// resolve adds to r what its names mean to a statement that is sent now. With
// wait, that is known once the server has answered.
func (d *decoder) resolve(r *reading) (wait bool) {
	r.resolved = nil
	switch {
	case r.meaning == nil:
		return false
	case r.meaning.Unclear != "":
		r.resolved = d.scoping.unresolved(r.facts, nil, r.unclassified)
		return false
	}
	res := d.scoping.of(r.facts, r.meaning)
	why := res.Unclear
	switch {
	case !d.scoping.wanted:
	case d.scoping.stale && (res.Names || d.runsPrepared(r)):
		if d.readyIsDue() {
			return true
		}
		why = "an earlier statement may change which relations it names: wait for that one to end"
	case why != "":
	case d.runsPrepared(r) && (d.scoping.mixed || d.scoping.prepared != d.scoping.sum):
		why = "it runs what was prepared when names could mean other relations: DEALLOCATE ALL, and prepare it again"
	}
	if r.unclassified == "" {
		r.unclassified = why
	}
	if why != "" {
		res = d.scoping.unresolved(r.facts, r.meaning, why)
	}
	r.resolved = res
	return false
}

// of returns what is known of a text, the same for the same text until the
// answer changes.
func (s *scoping) of(facts *sql.Facts, meaning *sql.Meaning) *sql.Resolved {
	if r := s.resolved[facts]; r != nil {
		return r
	}
	r := sql.Resolve(facts, meaning, s.now)
	if s.weight += r.Weight; s.resolved == nil || len(s.resolved) >= maxResolved || s.weight > maxWeight {
		s.resolved = make(map[*sql.Facts]*sql.Resolved)
		s.weight = r.Weight
	}
	s.resolved[facts] = r
	return r
}

// unresolved is what is known of a text that is unclassified, the same for the
// same one as a rule, so that verdicts on it can be remembered too.
func (s *scoping) unresolved(facts *sql.Facts, meaning *sql.Meaning, why string) *sql.Resolved {
	last := &s.last
	if last.Resolved == nil || last.Facts != facts || last.meaning != meaning || last.why != why {
		last.Resolved, last.meaning, last.why = sql.Unresolved(facts, meaning, why), meaning, why
	}
	return last.Resolved
}

// runsPrepared reports whether a statement runs by SQL what was prepared
// before.
func (d *decoder) runsPrepared(r *reading) bool { return slices.Contains(r.facts.Verbs, "execute") }

// readyIsDue reports whether the server is to be ready for the next query
// without a word of the client.
func (d *decoder) readyIsDue() bool {
	return d.queue.pending(d.lastReady) && !d.queue.at(d.lastReady).void
}

// moves notes what a statement that is sent now may do to names.
func (d *decoder) moves(r *reading) {
	s := &d.scoping
	if !s.wanted {
		return
	}
	if r.facts != nil && slices.Contains(r.facts.Verbs, "prepare") {
		s.prepares()
	}
	if r.resolved == nil || r.resolved.Moves {
		s.stale, s.unsettled = true, true
	}
	if r.effect&settles != 0 && s.unsettled {
		s.stale = true
	}
}

// prepares notes that a statement gets a name by which SQL can run it.
func (s *scoping) prepares() {
	if s.stale || s.prepared != [sha256.Size]byte{} && s.prepared != s.sum {
		s.mixed = true
	}
	s.prepared = s.sum
}

// deallocated notes that no such name is left.
func (s *scoping) deallocated() { s.prepared, s.mixed = [sha256.Size]byte{}, false }
