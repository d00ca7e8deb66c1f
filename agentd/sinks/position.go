package sinks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A position is how far a sink has come: what its file holds.
type position struct {
	Version int   `json:"version"`
	Next    int64 `json:"next"` // index of the first record that was not brought
	// Where the record before that is, and its leaf hash: "" if there is none.
	Segment int64  `json:"segment"`
	Offset  int64  `json:"offset"`
	Leaf    string `json:"leaf,omitempty"`
	// Sessions are what is known of those that go on.
	Sessions map[string]*Session `json:"sessions,omitempty"`
	// Of objects: the size of the last checkpoint that was brought.
	Checkpoint int64 `json:"checkpoint,omitempty"`
}

// readPosition reads a position; false if there is none yet.
func readPosition(file string) (p position, found bool, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	if err := json.Unmarshal(text, &p); err != nil || p.Version != 1 || p.Next < 0 {
		return p, false, fmt.Errorf("%s does not say how far the sink is: remove it, and the sink begins anew", file)
	}
	return p, true, nil
}

// write replaces the file, so that it is the old or the new one, whole, whatever
// happens.
func (p *position) write(file string) error {
	p.Version = 1
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
