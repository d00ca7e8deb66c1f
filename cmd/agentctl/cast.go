package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"agentd.dev/recorder"
)

// The terminal that an asciicast is of.
const (
	castWidth  = 120
	castHeight = 40
)

// A cast writes a session as replay shows it, as an asciicast of version 2: a
// header, and an event for each thing that was asked, when it was. Pauses stay as
// they were; the header asks players to shorten them.
type cast struct{ ndjson }

func (c cast) session(s *recorder.Transcript) error {
	var screen bytes.Buffer
	p := &player{s: s, app: &app{out: &screen, errs: io.Discard, outWidth: castWidth, colour: true}}
	if err := c.line(map[string]any{
		"version": 2, "width": castWidth, "height": castHeight, "timestamp": s.Start.Unix(), "idle_time_limit": maxPause.Seconds(),
		"title": oneLine(fmt.Sprintf("session %s of %s to %s", s.ID, s.Workload, s.Target)),
	}); err != nil {
		return err
	}
	shown := time.Duration(0) // until when: time does not go back in a cast
	show := func(at time.Time) error {
		shown = max(shown, at.Sub(s.Start))
		text := strings.ReplaceAll(screen.String(), "\n", "\r\n")
		screen.Reset()
		return c.line([]any{shown.Seconds(), "o", text})
	}
	p.writeSummary(&s.Summary)
	if err := show(s.Start); err != nil {
		return err
	}
	for i, e := range s.Entries {
		p.tell(i)
		if err := show(e.Time); err != nil {
			return err
		}
	}
	p.ending()
	return show(s.End)
}
