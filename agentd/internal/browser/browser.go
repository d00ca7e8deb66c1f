// Package browser opens pages in a real Chromium, for tests: what a page does is
// what it does there. A Browser keeps all that its page asked the network for and
// all that its console said.
package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is for a machine that does other things, too.
const patience = 3 * time.Minute

// names are Chromium's, as distributions and others call it.
var names = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"}

// A Browser has one page open.
type Browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string // URLs
	said     []string // on the console, by exceptions, and by the browser of the page
}

// Open starts a Chromium and opens a file in it, in a window of 1200 by 800.
// Chromium's sandbox does not work for root, and the pages are the tests' own.
func Open(t *testing.T, file string) *Browser {
	t.Helper()
	b := &Browser{t: t}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(program(t)), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1200, 800))
	limited, stop := context.WithTimeout(context.Background(), patience)
	t.Cleanup(stop)
	allocated, end := chromedp.NewExecAllocator(limited, options...)
	t.Cleanup(end) // waits for the process
	ctx, leave := chromedp.NewContext(allocated, chromedp.WithListener(b.note))
	t.Cleanup(leave)
	b.ctx = ctx
	b.Do()
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	_, logs := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	if err := errors.Join(err, logs); err != nil {
		t.Fatal(err)
	}
	b.Do(chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()))
	return b
}

// program finds Chromium: there is no test of a page without.
func program(t *testing.T) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("no Chromium is on the PATH, by none of the names %q: `scripts/deps.sh test` installs one", names)
	return ""
}

func (b *Browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *network.EventWebSocketCreated:
		b.requests = append(b.requests, e.URL)
	case *log.EventEntryAdded:
		b.said = append(b.said, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	case *runtime.EventConsoleAPICalled:
		text := string(e.Type) + ":"
		for _, arg := range e.Args {
			text += " " + string(arg.Value)
		}
		b.said = append(b.said, text)
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, e.ExceptionDetails.Text)
	}
}

// Requests are the URLs that were asked for so far, the page's own among them.
func (b *Browser) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// Said is what the console has so far.
func (b *Browser) Said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.said)
}

// Do does things with the page.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("in the browser: %v; its console has %q", err, b.Said())
	}
}

// Text is what an expression is in the page, as a string. A promise is waited for.
func (b *Browser) Text(js string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("(async () => String(await ("+js+")))()", chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s in the browser: %v; its console has %q", js, err, b.Said())
	}
	return text
}

// Await waits until an expression is true in the page.
func (b *Browser) Await(js string) {
	b.t.Helper()
	b.Text("new Promise(done => { const look = () => (" + js + ") ? done(true) : requestAnimationFrame(look); look(); })")
}

// Prefer has the page in light or dark colours.
func (b *Browser) Prefer(scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// Picture is the page as it looks, as a PNG.
func (b *Browser) Picture() []byte {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	return png
}
