package recorder

import (
	"encoding/json"
	"time"
)

// A Vote is what became of a request for approval: that it was asked, what
// people said to it, that it was used.
type Vote struct {
	Time time.Time `json:"time"`
	// What is asked, agreed (one of several), granted, denied, used, expired or
	// withdrawn.
	What    string `json:"what"`
	By      string `json:"by,omitempty"`
	Via     string `json:"via,omitempty"`
	As      string `json:"as,omitempty"`
	Subject string `json:"subject,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// votes are those of a log, by the id of what they are about.
type votes map[string][]Vote

// add reads a note of the daemon, if it is about an approval.
func (v votes) add(payload []byte) {
	var note struct {
		Time  time.Time `json:"time"`
		Kind  string    `json:"kind"`
		Text  string    `json:"text"`
		Attrs struct {
			ID string `json:"id"`
			Vote
		} `json:"attrs"`
	}
	if json.Unmarshal(payload[1:], &note) != nil || note.Kind != "approval" {
		return
	}
	said := note.Attrs.Vote
	said.Time, said.What = note.Time, note.Text
	v[note.Attrs.ID] = append(v[note.Attrs.ID], said)
}

// give gives entries what was said of the approvals that they name: the last of
// each approval's, since that was judged when it had been decided.
func (v votes) give(entries []*Entry) {
	last := map[string]*Entry{}
	for _, e := range entries {
		if e.Approval != "" {
			last[e.Approval] = e
		}
	}
	for id, e := range last {
		e.Votes = v[id]
	}
}
