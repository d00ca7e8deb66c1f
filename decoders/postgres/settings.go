package postgres

import (
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// maxReported is how many parameters a server may report; they have about 15.
const maxReported = 64

// Settings are what decides, in a session, what the words of a statement mean: who
// it is, and what it has set. Two sessions of the same settings mean the same by
// the same words. Where that cannot be told, a session has settings of its own,
// so that what is agreed to there holds nowhere else, and not after the next
// change either.
type settings struct {
	login    [sha256.Size]byte // of what was said at login
	reported map[string]string // by the server
	// changed stands for what statements have set; before for what they had when
	// the transaction began, if one has set something since: then it is tentative.
	changed, before change
	tentative       bool
	lasts           bool // something stays set if it commits
	sticks          bool // something may stay even if it does not
	aborted         bool // it has failed, and can only be undone
	requests        int  // since it began
	failed          bool // one of them has

	id     string // no other session has it; made when it is needed
	number uint64 // of the newest change that cannot be told
}

// A change stands for what statements have set, zero for nothing. Of those that
// are equal the same is set.
type change struct {
	own    string // the session's id, if it cannot be told
	number uint64
	sum    [sha256.Size]byte // of the texts of all SETs
}

// sum is the settings in a form to be compared, when statements have set what
// changed stands for.
func (s *settings) sum(changed change) []byte {
	h := summer{sha256.New()}
	h.part(s.login[:])
	h.change(changed)
	for _, name := range slices.Sorted(maps.Keys(s.reported)) {
		if !telling[name] {
			h.part(name)
			h.part(s.reported[name])
		}
	}
	return h.Sum(nil)
}

// telling are reported parameters that decide nothing.
var telling = map[string]bool{"application_name": true, "server_version": true, "in_hot_standby": true, "scram_iterations": true}

// loggedInAs keeps what a client and agentd say at login that decides about
// statements.
func (s *settings) loggedInAs(msg []byte, facts *login, a *decoders.Account) {
	h := summer{sha256.New()}
	h.part(facts.user)
	h.part(facts.as)
	h.part(facts.database)
	said := map[string]string{}
	for p := range parameters(msg) {
		said[string(p.name)] = string(p.value)
	}
	if a != nil {
		maps.Copy(said, a.Parameters)
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		switch name {
		case "user", "database", "application_name", "fallback_application_name":
		default:
			h.part(name)
			h.part(said[name])
		}
	}
	h.Sum(s.login[:0])
}

// report keeps what the server says a parameter is.
func (s *settings) report(name, value []byte) {
	if _, known := s.reported[string(name)]; !known && len(s.reported) >= maxReported {
		s.unique()
		return
	}
	if s.reported == nil {
		s.reported = map[string]string{}
	}
	s.reported[string(name)] = string(value)
}

// unique makes the settings such as no session has, or has had.
func (s *settings) unique() {
	if s.id == "" {
		s.id = rand.Text()
	}
	s.number++
	s.changed = change{own: s.id, number: s.number}
}

// sets notes what a request that is sent now may set.
func (d *decoder) sets(r *reading, text []byte) {
	s := &d.settings
	if !d.want.Bindings {
		return
	}
	d.client.was = *s
	d.touches(r)
	s.requests++
	if s.tentative && r.effect&settles != 0 { // all or a part of it may be undone
		s.unique()
	}
	how, local := setting(r)
	if how == nothing {
		return
	}
	if !s.tentative {
		s.tentative, s.before = true, s.changed
	}
	s.aborted = false // what ends it may set this behind it
	s.lasts = s.lasts || !local
	if how == anythingAtAll {
		s.sticks = s.sticks || d.status == 'I' || r.effect&(renames|settles) != 0 // it may commit by itself
		s.unique()
		return
	}
	h := summer{sha256.New()}
	h.change(s.changed)
	h.part(d.exactText(text, r))
	s.changed = change{}
	h.Sum(s.changed.sum[:0])
}

// unsets takes back what a request that was refused would have set.
func (d *decoder) unsets() {
	s, was := &d.settings, &d.client.was
	s.changed, s.before, s.tentative, s.lasts, s.sticks = was.changed, was.before, was.tentative, was.lasts, was.sticks
}

// settle is told when the server is ready for the next query, with the status of
// the transaction.
func (s *settings) settle(status byte) {
	if status != 'I' {
		s.aborted = status == 'E'
		return
	}
	switch {
	case !s.tentative, s.sticks && s.requests == 1:
	case s.sticks:
		s.unique()
	case !s.lasts, s.aborted, s.failed && s.requests == 1: // nothing of it is left
		s.changed = s.before
	case s.requests > 1: // it may have been undone
		s.unique()
	}
	s.tentative, s.lasts, s.sticks, s.aborted, s.failed, s.requests = false, false, false, false, false, 0
}

// How much a statement sets.
type setsHow uint8

const (
	nothing       setsHow = iota
	sets                  // what its text says, and nothing else
	anythingAtAll         // what nobody can tell
)

// setting says what a statement sets, and whether that ends with the
// transaction.
func setting(r *reading) (how setsHow, local bool) {
	switch {
	case r.resolved == nil || r.meaning == nil || r.unclassified != "":
		return anythingAtAll, false
	case !r.resolved.Moves && !setsAny(r.meaning) && r.effect&renames == 0:
		return nothing, false
	}
	for i := range r.meaning.Statements {
		if r.meaning.Statements[i].Kind != "VariableSetStmt" {
			return anythingAtAll, false
		}
	}
	return sets, len(r.meaning.Statements) == 1 && startsLocal(r.facts.Normalized)
}

func setsAny(m *sql.Meaning) bool {
	return slices.ContainsFunc(m.Statements, func(st sql.Statement) bool { return len(st.Sets) > 0 })
}

// startsLocal reports whether a SET ends with its transaction.
func startsLocal(normalized string) bool {
	return strings.HasPrefix(normalized, "set local ") || strings.HasPrefix(normalized, "set transaction ")
}
