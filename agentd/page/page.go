// Package page writes a recorded session as one HTML page that plays it: what an
// auditor is shown, who has neither agentd nor the log.
//
// The page holds all that it shows. It has one script, which its policy names by
// its hash, and the policy lets it load nothing and send nothing, from wherever
// it is opened. What the record holds stands in it as JSON, in an element that
// is not executed, and is put on the page as text: a statement cannot be markup.
// A page is no proof of anything by itself, whatever it says: see recorder.Prove.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
	"time"

	"agentd.dev/recorder"
)

var (
	//go:embed page.html
	frame string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// A Page is what there is to say of a session beside its transcript.
type Page struct {
	Proof   Proof
	Version string // of what writes the page
	Made    time.Time
}

// States of a proof.
const (
	Proven    = "proven"   // all that is shown
	Unproven  = "unproven" // nobody has checked, or a part is not signed yet
	Disproven = "bad"      // the record is not what was signed
)

// A Proof is where a session is recorded, and what was checked of it.
type Proof struct {
	State string `json:"state"`
	Words string `json:"words"` // what that means, to people
	Log   string `json:"log,omitempty"`
	Node  string `json:"node,omitempty"`
	Key   string `json:"key,omitempty"`
	Size  int64  `json:"size,omitempty"` // records that the checkpoint is of
	Root  string `json:"root,omitempty"`
}

// How many bytes of results and of texts are on a page, since browsers read it as
// a whole. Of texts beyond that the front is.
const (
	maxRows  = 64 << 20
	maxTexts = 128 << 20
	front    = 512
)

// Write writes the page of s.
func Write(w io.Writer, s *recorder.Transcript, p Page) error {
	before, after, _ := strings.Cut(frame, "{{data}}")
	fill := strings.NewReplacer(
		"{{csp}}", policy(),
		"{{title}}", html.EscapeString("Session "+s.ID),
		"{{style}}", style,
		"{{script}}", script,
	)
	if _, err := fill.WriteString(w, before); err != nil {
		return err
	}
	if err := json.NewEncoder(w).Encode(contents(s, p, maxRows, maxTexts)); err != nil { // it escapes <, > and & in strings
		return fmt.Errorf("write the session into the page: %w", err)
	}
	_, err := fill.WriteString(w, after)
	return err
}

// policy lets the page's own style and script be, and nothing else.
func policy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) + "; base-uri 'none'; form-action 'none'"
}

// A content is what the script reads.
type content struct {
	Session *recorder.Summary `json:"session"`
	Proof   Proof             `json:"proof"`
	Version string            `json:"version"`
	Made    string            `json:"made"`
	Clock   string            `json:"clock"` // when it began
	Took    int64             `json:"took"`  // microseconds; up to the last entry of a session that goes on
	LeftOut string            `json:"left_out,omitempty"`
	Entries []entry           `json:"entries"`
}

// An entry is one of the transcript, without what is for rules alone, and without
// what there is no room for.
type entry struct {
	*recorder.Entry
	Facts       *struct{}        `json:"facts,omitempty"` // hides the transcript's
	At          int64            `json:"at"`              // microseconds since the session's start
	Time        string           `json:"time"`
	Text        string           `json:"text,omitempty"`
	Raw         []byte           `json:"text_raw,omitempty"`
	TextLeftOut bool             `json:"text_left_out,omitempty"`
	Votes       []vote           `json:"votes,omitempty"`
	Rows        []*recorder.Rows `json:"rows,omitempty"`
	RowsLeftOut bool             `json:"rows_left_out,omitempty"`
}

// A vote is one of the record, with its time in words.
type vote struct {
	recorder.Vote
	Time string `json:"time"`
}

func contents(s *recorder.Transcript, p Page, rows, texts int) *content {
	c := &content{
		Session: &s.Summary, Proof: p.Proof, Version: p.Version, Made: clock(p.Made), Clock: clock(s.Start),
		Entries: make([]entry, len(s.Entries)),
	}
	if !s.End.IsZero() {
		c.Took = s.End.Sub(s.Start).Microseconds()
	}
	left, cut := 0, 0
	for i, e := range s.Entries {
		on := entry{Entry: e, At: max(e.Time.Sub(s.Start).Microseconds(), 0), Time: clock(e.Time), Text: e.Text.Text, Raw: e.Raw, Rows: e.Rows}
		for _, v := range e.Votes {
			on.Votes = append(on.Votes, vote{v, clock(v.Time)})
		}
		if rows -= weight(e.Rows); rows < 0 && len(e.Rows) > 0 {
			on.Rows, on.RowsLeftOut = nil, true
			left++
		}
		if texts -= len(on.Text) + len(on.Raw); texts < 0 && len(on.Text)+len(on.Raw) > 2*front {
			on.Text, on.Raw, on.TextLeftOut = strings.ToValidUTF8(on.Text[:min(len(on.Text), front)], ""), on.Raw[:min(len(on.Raw), front)], true
			cut++
		}
		c.Took = max(c.Took, on.At)
		c.Entries[i] = on
	}
	if left+cut > 0 {
		c.LeftOut = fmt.Sprintf("This session is too large for a page: the rows of %d results are left out, and all but the front of %d statements. They are in the log.", left, cut)
	}
	return c
}

// clock is a time as the page shows it, whose reader may be anywhere.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 MST") }

// weight is about how many bytes results take.
func weight(results []*recorder.Rows) (n int) {
	for _, r := range results {
		for _, row := range r.Rows {
			for _, v := range row {
				n += 4
				if v != nil {
					n += len(*v)
				}
			}
		}
	}
	return n
}
