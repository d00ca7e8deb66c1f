package approvals

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	stateVersion = 1
	// maxKept is how much of a statement, and of its parameters, is kept once
	// the request is over, in bytes. The record has the whole.
	maxKept = 4 << 10
	// maxState bounds what is read of a file, in bytes.
	maxState = 256 << 20
)

// A state is what the file holds.
type state struct {
	Version  int       `json:"version"`
	Requests []Request `json:"requests"`
}

// trim lets go of what is too long to be kept.
func (r *Request) trim() {
	if len(r.Statement) > maxKept {
		r.Statement, r.Cut = cut(r.Statement, maxKept), true
	}
	left := maxKept
	for i, p := range r.Parameters {
		if len(p) > left {
			r.Parameters, r.Cut = append(slices.Clone(r.Parameters[:i]), cut(p, left)), true
			return
		}
		left -= len(p)
	}
}

// cut returns the first n bytes of s, less if that is in the midst of a rune.
func cut(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// state returns what is to be kept, as it is written.
func (d *Desk) state() ([]byte, error) {
	list, _ := d.List(true)
	for i := range list {
		list[i].trim()
	}
	return json.Marshal(state{stateVersion, list})
}

// load reads what the last Desk has left. What was not over is, now: nobody is
// there who waits for it, and a grant may have been used.
func (d *Desk) load() {
	path := d.options.File
	text, err := readState(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var s state
	if err == nil {
		err = s.read(text)
	}
	if err != nil {
		aside := path + ".damaged"
		d.options.Log.Error("the approvals of the last agentd cannot be read, and none is known: what was decided is in the record",
			"error", err, "moved to", aside, "moving", os.Rename(path, aside))
		return
	}
	for i := range s.Requests {
		d.adopt(&request{Request: s.Requests[i]})
	}
	slices.SortStableFunc(d.past, func(a, b *request) int { return a.Ended.Compare(b.Ended) })
	d.prune()
}

// read reads what was written.
func (s *state) read(text []byte) error {
	if err := json.Unmarshal(text, s); err != nil {
		return err
	}
	if s.Version != stateVersion {
		return fmt.Errorf("it is of version %d, and this agentd reads %d", s.Version, stateVersion)
	}
	for i := range s.Requests {
		if s.Requests[i].ID == "" {
			return fmt.Errorf("request %d has no id", i)
		}
	}
	return nil
}

// adopt takes over a request of the last Desk.
func (d *Desk) adopt(r *request) {
	if r.State == Pending || r.State == Granted {
		if !d.options.Silent {
			d.noteEnd(r, Expired, d.options.Ended)
		}
		r.State, r.Reason, r.Ended = Expired, d.options.Ended, d.options.Clock.Now()
	}
	d.all[r.ID] = r
	d.past = append(d.past, r)
}

func readState(path string) ([]byte, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if stat.Size() > maxState || !stat.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not what agentd writes: %d bytes, %s", path, stat.Size(), strings.TrimSpace(stat.Mode().String()))
	}
	return os.ReadFile(path)
}
