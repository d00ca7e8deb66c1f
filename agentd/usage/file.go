package usage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

const (
	version = 1
	maxFile = 512 << 20 // bytes of a file that are read
)

// A kept store is what the file holds: a line of JSON, and the SHA-256 of that
// in hex.
type keptStore struct {
	Version  int           `json:"version"`
	Profiles []keptProfile `json:"profiles"`
	Accounts []keptAccount `json:"accounts"`
}

type keptProfile struct {
	Who      string           `json:"who"`
	Since    int64            `json:"since"`
	Last     int64            `json:"last"`
	Looked   int64            `json:"looked"`
	Full     bool             `json:"full,omitempty"`
	Targets  map[string]int64 `json:"targets"`
	Programs map[string]int64 `json:"programs"`
}

type keptAccount struct {
	Who     string                    `json:"who"`
	Target  string                    `json:"target"`
	Windows [len(spans)]map[int64]row `json:"windows"` // by index
	Tables  map[string]int64          `json:"tables"`
	Verbs   map[string]int64          `json:"verbs"`
	Looked  int64                     `json:"looked"`
	HourIs  int64                     `json:"hourIs"`
	Hour    row                       `json:"hour"`
	Hours   []row                     `json:"hours"`
}

// A row is counts, short.
type row [5]int64

func rowOf(c counts) row     { return row{c.Statements, c.Rows, c.Bytes, c.Affected, c.Denials} }
func (r row) counts() counts { return counts{r[0], r[1], r[2], r[3], r[4]} }
func (r row) sensible() bool {
	return !slices.ContainsFunc(r[:], func(n int64) bool { return n < 0 || n > Untypical })
}

func lasts(m map[string]*seen) map[string]int64 {
	out := make(map[string]int64, len(m))
	for name, s := range m {
		out[name] = s.last
	}
	return out
}

// Open returns a Store with what a file has of the last one. The file need not
// be there.
//
// It fails closed: if the file is damaged, it is moved aside and logged, and what
// was used before is not known, so that rules that ask for it apply as long as
// that could matter.
func Open(file string, log *slog.Logger) *Store {
	s := newStore(file, log, time.Now)
	s.load()
	return s
}

// Since returns a Store that is kept in no file and knows of what it is told from
// now on, by a clock: for what was recorded.
func Since(now func() time.Time) *Store {
	s := newStore("", slog.New(slog.DiscardHandler), now)
	s.blind = now().Unix()
	return s
}

func newStore(file string, log *slog.Logger, now func() time.Time) *Store {
	s := &Store{now: now, log: log, file: file, profiles: map[string]*profile{}, accounts: map[place]*account{}}
	s.Learn(defaultWait)
	return s
}

func (s *Store) load() {
	k, err := read(s.file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return
	case err != nil:
		s.blind = s.now().Unix()
		aside := s.file + ".damaged"
		s.log.Error("what workloads have used is not known: rules that ask for it apply until a day has passed", "error", err,
			"moved to", aside, "moving", os.Rename(s.file, aside))
		return
	}
	s.merge(k)
}

// read reads a file of Save.
func read(file string) (*keptStore, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not what agentd writes", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	body, sum, _ := bytes.Cut(text, []byte{'\n'})
	want := sha256.Sum256(body)
	if string(bytes.TrimSpace(sum)) != hex.EncodeToString(want[:]) {
		return nil, fmt.Errorf("%s is not what was written: its sum differs", file)
	}
	k := new(keptStore)
	if err := json.Unmarshal(body, k); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if k.Version != version {
		return nil, fmt.Errorf("%s is of version %d, and this agentd reads %d", file, k.Version, version)
	}
	return k, nil
}

// merge adds what k holds to s.
func (s *Store) merge(k *keptStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().Unix()
	for i := range k.Profiles {
		kept := &k.Profiles[i]
		p := s.profiles[kept.Who]
		if p == nil {
			p = newProfile(kept.Who, kept.Since)
			s.profiles[kept.Who] = p
		}
		p.mu.Lock()
		p.since, p.last, p.full = min(p.since, kept.Since), max(p.last, kept.Last), p.full || kept.Full
		p.looked = sooner(p.looked, kept.Looked)
		p.remember(p.targets, kept.Targets)
		p.remember(p.programs, kept.Programs)
		p.mu.Unlock()
	}
	for i := range k.Accounts {
		if a := s.account(place{k.Accounts[i].Who, k.Accounts[i].Target}); a != nil {
			a.merge(&k.Accounts[i], now)
		}
	}
}

// sooner is the earlier of two times, of which 0 is none.
func sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// remember learns names that were learned elsewhere.
func (p *profile) remember(set map[string]*seen, names map[string]int64) {
	for name, last := range names {
		p.learn(set, name, last)
	}
}

func (a *account) merge(k *keptAccount, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.windows {
		for index, r := range k.Windows[i] {
			if c := r.counts(); r.sensible() {
				a.windows[i].addAt(index, now, &c)
			}
		}
	}
	a.looked = sooner(a.looked, k.Looked)
	a.pass(max(0, min(k.HourIs, now/3600)) * 3600)
	if c := k.Hour.counts(); k.Hour.sensible() && k.HourIs == a.hourIs {
		a.hour.add(&c)
	}
	for _, r := range k.Hours[max(0, len(k.Hours)-maxHours):] {
		if r.sensible() {
			a.hours = append(a.hours, r.counts())
		}
	}
	a.hours = a.hours[max(0, len(a.hours)-maxHours):]
	a.settle()
	a.profile.mu.Lock()
	defer a.profile.mu.Unlock()
	a.profile.remember(a.tables, k.Tables)
	a.profile.remember(a.verbs, k.Verbs)
}

// keep returns what s holds.
func (s *Store) keep() *keptStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &keptStore{Version: version}
	for _, p := range s.profiles {
		p.mu.Lock()
		k.Profiles = append(k.Profiles, keptProfile{p.who, p.since, p.last, p.looked, p.full, lasts(p.targets), lasts(p.programs)})
		p.mu.Unlock()
	}
	for at, a := range s.accounts {
		k.Accounts = append(k.Accounts, a.keep(at))
	}
	return k
}

func (a *account) keep(at place) keptAccount {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := keptAccount{
		Who: at.who, Target: at.target, Tables: lasts(a.tables), Verbs: lasts(a.verbs),
		Looked: a.looked, HourIs: a.hourIs, Hour: rowOf(a.hour), Hours: []row{},
	}
	for i := range a.windows {
		w := &a.windows[i]
		k.Windows[i] = map[int64]row{}
		for index := max(0, w.last-int64(len(w.buckets))+1); index <= w.last; index++ {
			if c := w.buckets[index%int64(len(w.buckets))]; c != (counts{}) {
				k.Windows[i][index] = rowOf(c)
			}
		}
	}
	for _, c := range a.hours {
		k.Hours = append(k.Hours, rowOf(c))
	}
	return k
}

// Save writes the file, if there is something new; after Leave, what the next
// agentd is to add.
func (s *Store) Save() error {
	if s.spill.has() {
		return s.spill.flush(s)
	}
	if !s.dirty.Swap(false) {
		return nil
	}
	err := s.write(s.file)
	if err != nil {
		s.dirty.Store(true)
	}
	return err
}

// write writes a file whole or not at all.
func (s *Store) write(file string) error {
	body, err := json.Marshal(s.keep())
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	body = append(append(body, '\n'), hex.EncodeToString(sum[:])+"\n"...)
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Run writes the file every few seconds, and less often where that takes long,
// until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	said, full := "", map[string]bool{}
	for wait := saveEvery; ; {
		select {
		case <-ctx.Done():
			if err := s.Save(); err != nil { // now: sessions may go on for long
				s.log.Error("what workloads have used cannot be kept for the next agentd", "error", err)
			}
			return nil
		case <-time.After(wait):
		}
		start := time.Now()
		s.absorb()
		err := s.Save()
		wait = max(saveEvery, 20*time.Since(start))
		if err != nil && err.Error() != said {
			s.log.Error("what workloads have used cannot be kept for the next agentd", "error", err)
		}
		said = fmt.Sprint(err)
		for _, who := range s.State().Full {
			if !full[who] {
				full[who] = true
				s.log.Warn("a workload uses more names than are kept: nothing of it is learned any more, and rules that ask what is first apply", "workload", who)
			}
		}
	}
}
