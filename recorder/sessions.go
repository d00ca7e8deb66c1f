package recorder

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"
)

// States of a session.
const (
	Live        = "live"        // going on
	Ended       = "ended"       // its end was recorded
	Interrupted = "interrupted" // recording stopped before it ended
)

// A Summary is a session in one line.
type Summary struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`             // Live, Ended or Interrupted
	Outcome string    `json:"outcome,omitempty"` // why it ended, as recorded
	Start   time.Time `json:"start"`
	End     time.Time `json:"end,omitzero"` // of an interrupted session: its last record

	Workload string `json:"workload"`
	Source   string `json:"source,omitempty"`
	Cgroup   string `json:"cgroup,omitempty"`
	Unit     string `json:"unit,omitempty"`
	Place
	PID      int       `json:"pid,omitempty"`
	PIDStart time.Time `json:"pid_start,omitzero"`
	UID      uint32    `json:"uid"`
	Comm     string    `json:"comm,omitempty"`
	Exe      string    `json:"exe,omitempty"`

	Target   string `json:"target,omitempty"`
	Address  string `json:"address,omitempty"`
	Host     string `json:"host,omitempty"` // the name the workload asked for
	Protocol string `json:"protocol,omitempty"`
	// Scope is what agentd could see: plaintext, intercepted (TLS that ends in
	// agentd), passed through, or unknown protocol. Versions before wrote tls for
	// the second and opaque for the others.
	Scope string `json:"scope,omitempty"`
	// Results is how many bytes of the results of each request are recorded.
	Results int `json:"results,omitempty"`
	// NotCaptured is what the record does not have, in words.
	NotCaptured []string `json:"not_captured,omitempty"`
	Silence
	// Claims are what was said of why the session is: by its environment, and
	// with the login.
	Claims      map[string]string `json:"claims,omitempty"`
	ClientTLS   *Secured          `json:"client_tls,omitempty"`
	ServerTLS   *Secured          `json:"server_tls,omitempty"`
	User        string            `json:"user,omitempty"`
	Database    string            `json:"database,omitempty"`
	Application string            `json:"application,omitempty"`
	Credential  string            `json:"credential,omitempty"` // that agentd logged in with in the client's place
	As          string            `json:"as,omitempty"`         // and the user that is of it

	Statements int64 `json:"statements"`
	Denied     int64 `json:"denied"`
	Failed     int64 `json:"failed"`
	Rows       int64 `json:"rows"`
	Bytes      int64 `json:"bytes"`  // of rows
	Masked     int64 `json:"masked"` // values
	FromClient int64 `json:"from_client,omitempty"`
	FromServer int64 `json:"from_server,omitempty"`
	// Unsent is how many bytes the client had not taken when the session ended:
	// the last of the rows that are recorded may be among them.
	Unsent int64 `json:"unsent,omitempty"`
}

// A Filter chooses sessions; a zero field chooses all.
type Filter struct {
	Workload, Target, User, Database, State string
	Namespace, Pod                          string
	// Claim is KEY=VALUE: it, or something that it asked, claims that.
	Claim string

	Since, Until time.Time // by the session's start
	Limit        int       // the latest only
}

// Sessions returns the sessions that f chooses, by start. With ErrDamaged it
// returns what could be read.
func (d *Folder) Sessions(f Filter) ([]Summary, error) {
	live, err := locked(d.open.dir)
	if err != nil {
		return nil, err
	}
	list := listing{filter: f, byID: map[string]*Summary{}, claimed: map[string]bool{}}
	err = d.each(list.add)
	if !live {
		list.interrupt()
	}
	if list.open() > 0 { // no last record of theirs holds their counts
		if err := d.each(list.count); err != nil {
			return list.result(), err
		}
	}
	return list.result(), err
}

// A listing gathers summaries. Its first pass reads the first, the login and
// the last record of each session; its second counts for those without a last.
type listing struct {
	filter  Filter
	byID    map[string]*Summary
	claimed map[string]bool // sessions of which something claims what the filter wants
}

func (l *listing) add(payload []byte) error {
	kind := recordType(payload[1:])
	switch kind {
	case "stop":
		l.interrupt()
		return nil
	case "start", "open", "tls", "login", "close", "interrupted", "resumed":
	default:
		if l.filter.Claim == "" || !bytes.Contains(payload, []byte(`,"claims":{`)) {
			return nil
		}
	}
	r, err := parseRecord(payload)
	if err != nil {
		return nil // whole and checksummed, but no record of ours: Verify names it
	}
	if kind == "start" {
		if !r.Continues {
			l.interrupt()
		}
		return nil
	}
	if r.Type == "open" {
		if s := summaryOf(r); l.filter.admits(s) {
			l.byID[s.ID] = s
		}
		return nil
	}
	s := l.byID[r.Session]
	if s == nil {
		return nil
	}
	if l.filter.claims(r.Claims) {
		l.claimed[r.Session] = true
	}
	s.update(r)
	return nil
}

// claims reports whether claims have what the filter wants.
func (f *Filter) claims(claims map[string]string) bool {
	key, value, _ := strings.Cut(f.Claim, "=")
	said, ok := claims[key]
	return ok && said == value
}

// interrupt notes that what is going on does not go on.
func (l *listing) interrupt() {
	for _, s := range l.byID {
		if s.State == Live {
			s.State = Interrupted
		}
	}
}

// open returns how many sessions have no last record.
func (l *listing) open() (n int) {
	for _, s := range l.byID {
		if s.State != Ended {
			n++
		}
	}
	return n
}

func (l *listing) count(payload []byte) error {
	s := l.byID[string(sessionOf(payload))]
	if s == nil || s.State == Ended {
		return nil
	}
	r, err := parseRecord(payload)
	if err != nil {
		return nil
	}
	s.count(r)
	return nil
}

func (l *listing) result() []Summary {
	var all []Summary
	for _, s := range l.byID {
		if l.filter.chooses(s) && (l.filter.Claim == "" || l.claimed[s.ID] || l.filter.claims(s.Claims)) {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b Summary) int { return a.Start.Compare(b.Start) })
	if n := l.filter.Limit; n > 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	return all
}

// admits judges by what a session's first record says.
func (f *Filter) admits(s *Summary) bool {
	return (f.Workload == "" || f.Workload == s.Workload) &&
		(f.Target == "" || f.Target == s.Target) &&
		(f.Namespace == "" || f.Namespace == s.Namespace) &&
		(f.Pod == "" || f.Pod == s.Pod) &&
		(f.Since.IsZero() || !s.Start.Before(f.Since)) &&
		(f.Until.IsZero() || s.Start.Before(f.Until))
}

// chooses judges by what its later records say.
func (f *Filter) chooses(s *Summary) bool {
	return (f.User == "" || f.User == s.User) &&
		(f.Database == "" || f.Database == s.Database) &&
		(f.State == "" || f.State == s.State)
}

func summaryOf(r *record) *Summary {
	return &Summary{
		ID: r.Session, State: Live, Start: r.Time,
		Workload: r.Workload, Source: r.Source, Cgroup: r.Cgroup, Unit: r.Unit, Place: r.Place,
		PID: r.PID, PIDStart: r.PIDStart, UID: r.UID, Comm: r.Comm, Exe: r.Exe,
		Target: r.Target, Address: r.Address, Host: r.Host, Protocol: r.Protocol, Scope: r.Scope, Results: r.Results, NotCaptured: r.NotCaptured, Silence: r.Silence, Claims: r.Claims,
	}
}

// update takes what a login or a last record says.
func (s *Summary) update(r *record) {
	switch r.Type {
	case "interrupted", "resumed":
		s.goOn(r.Type == "resumed")
	case "tls":
		s.Scope, s.ClientTLS, s.ServerTLS = "intercepted", r.ClientTLS, r.ServerTLS
	case "login":
		s.User, s.Database, s.Application = r.User, r.Database, r.Application
		s.Credential, s.As = r.Credential, r.As
		s.claim(r.Claims)
	case "close":
		s.State, s.End, s.Outcome = Ended, r.Time, r.Reason
		s.Statements, s.Denied, s.Failed = r.Statements, r.Denied, r.Failed
		s.Rows, s.Bytes, s.Masked = r.Rows, r.Done.Bytes, r.Done.Masked
		s.FromClient, s.FromServer, s.Unsent = r.FromClient, r.FromServer, r.Unsent
	}
}

// claim adds what a login claims. What is there already goes before it.
func (s *Summary) claim(claims map[string]string) {
	if len(claims) == 0 {
		return
	}
	all := maps.Clone(claims)
	maps.Copy(all, s.Claims)
	s.Claims = all
}

// goOn notes whether a session goes on whose agentd is not the one that records.
func (s *Summary) goOn(on bool) {
	switch {
	case s.State == Ended:
	case on:
		s.State, s.End = Live, time.Time{}
	default:
		s.State = Interrupted
	}
}

// count adds what any other record says.
func (s *Summary) count(r *record) {
	if r.Type == "interrupted" || r.Type == "resumed" {
		return
	}
	if s.State == Interrupted {
		s.End = r.Time
	}
	if r.Verdict == "deny" || r.Verdict == "close" {
		s.Denied++
	}
	switch r.Type {
	case "request":
		s.Statements++
	case "outcome":
		if r.Done.Own {
			return
		}
		s.Rows += r.Rows
		s.Bytes += r.Done.Bytes
		s.Masked += r.Done.Masked
		if r.Code != "" {
			s.Failed++
		}
	}
}
