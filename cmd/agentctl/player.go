package main

import (
	"context"
	"fmt"
	"time"

	"agentd.dev/recorder"
)

// maxPause is how long a replay waits for the next statement at most.
const maxPause = 3 * time.Second

// A player prints a session as it went.
type player struct {
	*app
	s     *recorder.Transcript
	speed float64 // how many times as fast as it went; 0: at once
	step  bool    // by keys alone
	keys  <-chan key
}

// play prints all, unless a person quits or ctx ends.
func (p *player) play(ctx context.Context) {
	p.writeSummary(&p.s.Summary)
	if p.keys != nil {
		p.note("space pauses, arrows go back and forward, q quits")
	}
	paused, before := p.step, p.s.Start
	for i := 0; i < len(p.s.Entries); {
		e := p.s.Entries[i]
		wait, passed := p.pause(before, e.Time)
		switch p.await(ctx, wait, &paused) {
		case quitKey:
			return
		case backKey:
			i = max(i-2, 0)
			before = p.s.Entries[i].Time
			fmt.Fprintf(p.out, "\n%s\n", p.paint(dim, "        << back"))
			p.tell(i)
			i++
			continue
		case 0: // by itself
			if passed != "" {
				fmt.Fprintf(p.out, "\n%s\n", p.paint(dim, fmt.Sprintf("%10s  %s", "", passed)))
			}
		}
		p.tell(i)
		before = e.Time
		i++
	}
	p.ending()
}

func (p *player) tell(i int) {
	fmt.Fprintln(p.out)
	p.writeEntry(p.out, p.s, p.s.Entries[i])
}

// ending prints how the session ended.
func (p *player) ending() {
	fmt.Fprintf(p.out, "\n%s  %s\n", p.paint(dim, fmt.Sprintf("%10s", end(p.s))), p.paint(stateStyles[p.s.State], printable(state(&p.s.Summary))))
}

// pause is how long to wait between two statements, and a note if that is
// less than it took.
func (p *player) pause(from, to time.Time) (time.Duration, string) {
	if p.speed == 0 {
		return 0, ""
	}
	gap := to.Sub(from)
	wait := time.Duration(float64(gap) / p.speed)
	if wait > maxPause {
		return maxPause, fmt.Sprintf("… %s passed, shown as %s", brief(gap), maxPause)
	}
	return max(wait, 0), ""
}

// await waits until the next statement is to be shown, and returns the key that
// says so; 0 when its time has come.
func (p *player) await(ctx context.Context, wait time.Duration, paused *bool) key {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		due := timer.C
		if *paused {
			due = nil
			p.status("-- space: go on, arrows: back and forward, q: quit --")
		} else if wait <= 0 && p.keys == nil {
			if ctx.Err() != nil {
				return quitKey
			}
			return 0
		}
		select {
		case <-ctx.Done():
			p.status("")
			return quitKey
		case <-due:
			return 0
		case pressed := <-p.keys:
			p.status("")
			switch {
			case pressed != pauseKey:
				return pressed
			case p.step:
				return forwardKey
			}
			if *paused = !*paused; !*paused {
				timer.Reset(0)
			}
		}
	}
}

// status shows a line that the next one takes the place of.
func (p *player) status(text string) {
	if p.outWidth > 0 && p.keys != nil {
		fmt.Fprintf(p.out, "\r\x1b[K%s", p.paint(dim, cut(text, p.outWidth-1)))
	}
}
