package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A progress is a bar on the terminal for work that takes a while.
type progress struct {
	out   io.Writer
	width int // of the terminal; 0 if it is none, and nothing is shown
	what  string
	begun time.Time
	shown bool
	done  int64
}

func (a *app) newProgress(what string) *progress {
	return &progress{out: a.errs, width: a.errsWidth, what: what, begun: time.Now()}
}

// unshown is how long work may take without a bar.
const unshown = 300 * time.Millisecond

// speedWidth is how wide a terminal is on which there is room for the speed.
const speedWidth = 60

// to shows that done of total bytes are done.
func (p *progress) to(done, total int64) {
	if p.width == 0 || total <= 0 || time.Since(p.begun) < unshown {
		return
	}
	p.shown = true
	p.done = done
	text := fmt.Sprintf("%s %3d%% of %s ", p.what, 100*done/total, size(total))
	if p.width >= speedWidth {
		text = fmt.Sprintf("%sat %s/s ", text, size(p.rate()))
	}
	room := max(min(p.width-len(text)-1, 50), 0)
	full := int(int64(room) * min(done, total) / total)
	fmt.Fprintf(p.out, "\r%s%s%s", text, strings.Repeat("█", full), strings.Repeat("░", room-full))
}

// clear takes the bar away.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// rate is how many bytes a second were done.
func (p *progress) rate() int64 {
	return int64(float64(p.done) / max(time.Since(p.begun).Seconds(), 0.001))
}

// speed says how fast it was, if it took long enough to be shown.
func (p *progress) speed() string {
	if !p.shown {
		return ""
	}
	return fmt.Sprintf(", read at %s/s", size(p.rate()))
}
