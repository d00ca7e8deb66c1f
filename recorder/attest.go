package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// witnesses reads what the witnesses have cosigned, as it is kept beside the
// log. Their keys are not on the node: what they cosigned is worth as much as a
// checkpoint that was kept elsewhere. One that cosigned nothing is a finding,
// since who can remove records can remove this file.
func (v *verification) witnesses(keys []*WitnessKey) (*Finding, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	data, err := readWitnessed(v.walk.from.dir)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		w := Witnessing{Witness: key.String()}
		n, last := 0, waiting{}
		for rest := data; ; n++ {
			signed, after, ok := nextNote(rest)
			if !ok {
				break
			}
			rest = after
			if !bytes.Contains(signed, []byte("\n— "+key.Name()+" ")) {
				continue
			}
			c, err := v.witnessed(&w, key, signed)
			if errors.Is(err, errRotatedAway) {
				since := v.notes.ring.since[1]
				return &Finding{Kind: Forked, First: since, Last: since, Detail: fmt.Sprintf("checkpoint %d of those that %s has witnessed: %v", n+1, key.Name(), err)}, nil
			}
			if err != nil {
				return &Finding{Kind: WitnessForged, Detail: fmt.Sprintf("checkpoint %d of those that witnesses cosigned: %v", n+1, err)}, nil
			}
			if w.Count > 1 && c.Size < last.Size {
				return &Finding{Kind: WitnessForged, Detail: fmt.Sprintf("checkpoint %d of those that witnesses cosigned is of fewer records than one before it", n+1)}, nil
			}
			if w.Count == 1 || c.Size > last.Size {
				last = waiting{checkpoint: c, elsewhere: true, by: key.Name()}
				v.notes.elsewhere = append(v.notes.elsewhere, last)
			}
		}
		if w.Count == 0 {
			return &Finding{Kind: NotWitnessed, Detail: fmt.Sprintf("there is no checkpoint that %s has cosigned: "+
				"it was never asked, or what it cosigned was removed", key)}, nil
		}
		v.report.Witnessed = append(v.report.Witnessed, w)
	}
	v.notes.sort()
	return nil, nil
}

// readWitnessed reads what witnesses have cosigned, nil if there is nothing.
func readWitnessed(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, witnessedName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// witnessed takes account of one checkpoint that a witness cosigned.
func (v *verification) witnessed(w *Witnessing, key *WitnessKey, signed []byte) (checkpoint, error) {
	at, err := key.Cosigned(signed)
	if err != nil {
		return checkpoint{}, err
	}
	c, err := parseCheckpoint(string(signed))
	if err == nil && c.Size >= v.notes.ring.began {
		c, err = v.notes.ring.open(signed)
	}
	if err != nil {
		return c, err
	}
	if w.Count > 0 && at.Before(w.At) {
		return c, errors.New("it was cosigned before the one before it")
	}
	if quiet := at.Sub(w.At); w.Count > 0 && quiet > w.Silence {
		w.Silence, w.Until = quiet, at
	}
	w.Count++
	w.Size, w.At = c.Size, at
	return c, nil
}

// announced takes note of a record that says that the log is handed on to
// another key.
func (v *verification) announced(payload []byte) {
	v.read++
	if recordType(payload[1:]) != "note" || !bytes.Contains(payload, []byte(`"kind":"`+keyKind+`"`)) {
		return
	}
	var r struct {
		Kind, Session string
		Attrs         map[string]string
	}
	if err := json.Unmarshal(payload[1:], &r); err == nil && r.Kind == keyKind && r.Session == "" {
		v.key = r.Attrs["new"]
	}
}

// rotated checks that the log itself says what a checkpoint does that hands it
// on to another key.
func (v *verification) rotated(w *waiting) *Finding {
	if w.Next == "" {
		return nil
	}
	if v.key != w.Next && v.read == v.log.tree.size { // else it may be in what was not read
		return &Finding{
			Kind: RotationForged, First: w.Size - 1, Last: w.Size - 1, LastGood: v.covered,
			Detail: fmt.Sprintf("the checkpoint of %d records hands the log on to another key, and no record before it says so", w.Size),
		}
	}
	if w.Size != v.notes.ring.began {
		v.report.Rotated = append(v.report.Rotated, Rotation{Size: w.Size, Key: keyName(v.notes.ring.at(w.Size + 1))})
	}
	return nil
}

// quiet takes note of how long nothing was recorded.
func (v *verification) quiet(payload []byte) {
	now := momentOf(payload)
	if now.IsZero() {
		return
	}
	if quiet := now.Sub(v.last); !v.last.IsZero() && quiet > v.report.Quiet {
		v.report.Quiet, v.report.QuietUntil = quiet, now
	}
	if now.After(v.last) { // times of sessions are their own threads'
		v.last = now
	}
}

// momentOf returns the time of a record, which follows its type, without
// reading the rest; zero if it is not there.
func momentOf(payload []byte) time.Time {
	_, rest, _ := bytes.Cut(payload[1+len(recordHead):], []byte(`","time":"`))
	text, _, _ := bytes.Cut(rest[:min(len(rest), 40)], []byte(`"`))
	now, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}
	}
	return now
}
