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
}

func (a *app) newProgress(what string) *progress {
	return &progress{out: a.errs, width: a.errsWidth, what: what, begun: time.Now()}
}

// unshown is how long work may take without a bar.
const unshown = 300 * time.Millisecond

// to shows that done of total bytes are done.
func (p *progress) to(done, total int64) {
	if p.width == 0 || total <= 0 || time.Since(p.begun) < unshown {
		return
	}
	p.shown = true
	text := fmt.Sprintf("%s %3d%% of %s ", p.what, 100*done/total, size(total))
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
