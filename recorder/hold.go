package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A Hold keeps rules of retention from emptying segments: those that a session's
// records are in, or all.
type Hold struct {
	Name    string    `json:"name"`
	Session string    `json:"session,omitempty"` // "": everything
	From    int64     `json:"from"`              // segments; the first
	To      int64     `json:"to,omitempty"`      // the last; 0: all that come
	Why     string    `json:"why,omitempty"`
	By      string    `json:"by,omitempty"`
	Since   time.Time `json:"since"`
}

// covers reports whether a segment is held.
func (h *Hold) covers(number int64) bool {
	return number >= h.From && (h.To == 0 || number <= h.To)
}

// holdsName is the file in the log's folder that holds are kept in. The log tells
// of them, too: what was deleted in spite of one, Verify names.
const holdsName = "holds"

// A holding is the holds in force.
type holding struct {
	mu  sync.Mutex
	all []Hold
}

// covers reports whether a segment is held. The caller holds mu.
func (h *holding) covers(number int64) bool {
	return slices.ContainsFunc(h.all, func(hold Hold) bool { return hold.covers(number) })
}

func readHolds(dir string) ([]Hold, error) {
	data, err := os.ReadFile(filepath.Join(dir, holdsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Hold
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s in the log's folder is no list of holds: %w", holdsName, err)
	}
	return all, nil
}

func writeHolds(dir string, all []Hold) error {
	data, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, holdsName)
	f, err := os.OpenFile(path+sealingSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+sealingSuffix, path), syncFolder(dir))
}

// Holds returns the holds in force.
func (r *Recorder) Holds() []Hold {
	r.holds.mu.Lock()
	defer r.holds.mu.Unlock()
	return slices.Clone(r.holds.all)
}

// Hold begins a hold. It is in force before it is recorded, and recorded when this
// returns: a crash between keeps too much.
func (r *Recorder) Hold(h Hold) (Hold, error) {
	if h.From < 1 {
		h.From = 1
	}
	h.Since = time.Now().UTC()
	r.holds.mu.Lock()
	defer r.holds.mu.Unlock()
	if slices.ContainsFunc(r.holds.all, func(had Hold) bool { return had.Name == h.Name }) {
		return h, fmt.Errorf("there is a hold %q: release it first, or give this another name", h.Name)
	}
	all := append(slices.Clone(r.holds.all), h)
	if err := writeHolds(r.opts.Dir, all); err != nil {
		return h, fmt.Errorf("keep the hold: %w", err)
	}
	r.holds.all = all
	attrs := []any{"hold", h.Name, "of", h.Session, "from", segmentName(h.From), "to", "", "why", h.Why, "by", h.By}
	if h.To > 0 {
		attrs[7] = segmentName(h.To)
	}
	return h, r.Note(noteHold, "contents are held", attrs...)
}

// Release ends a hold. It is recorded before it has effect.
func (r *Recorder) Release(name, by string) error {
	r.holds.mu.Lock()
	defer r.holds.mu.Unlock()
	at := slices.IndexFunc(r.holds.all, func(h Hold) bool { return h.Name == name })
	if at < 0 {
		return fmt.Errorf("there is no hold %q: `agentctl audit hold` lists them", name)
	}
	if err := r.Note(noteRelease, "contents are no longer held", "hold", name, "by", by); err != nil {
		return err
	}
	all := slices.Delete(slices.Clone(r.holds.all), at, at+1)
	if err := writeHolds(r.opts.Dir, all); err != nil {
		return fmt.Errorf("end the hold: %w", err)
	}
	r.holds.all = all
	return nil
}

// SegmentsOf returns the segments that the records of a session are in, by what of
// the log can be read: the first, and the last or 0 if it goes on.
func (d *Folder) SegmentsOf(prefix string) (session string, from, to int64, err error) {
	id, err := d.resolve(prefix)
	if err != nil {
		return "", 0, 0, err
	}
	w, err := d.walk()
	if err != nil {
		return "", 0, 0, err
	}
	defer w.close()
	for {
		s, err := w.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return id, from, to, err
		}
		if s.err != nil || s.payload == nil || string(sessionOf(s.payload)) != id {
			continue
		}
		number, _ := segmentNumber(s.segment)
		if from == 0 {
			from = number
		}
		if to = 0; recordType(s.payload[1:]) == "close" {
			to = number
		}
	}
}
