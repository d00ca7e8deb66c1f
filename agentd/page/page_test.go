package page_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"agentd.dev/agentd/internal/browser"
	"agentd.dev/agentd/page"
	"agentd.dev/recorder"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sample is a session that asks for these, one each 100 milliseconds.
func sample(texts ...string) *recorder.Transcript {
	s := &recorder.Transcript{Summary: recorder.Summary{
		ID: "SAMPLEAAAAAAAAAAAAAAAAAAAA", State: recorder.Ended, Start: start, End: start.Add(time.Duration(len(texts)+1) * 100 * time.Millisecond),
		Workload: "report", Target: "orders", Protocol: "postgres", Statements: int64(len(texts)),
	}}
	for i, text := range texts {
		s.Entries = append(s.Entries, &recorder.Entry{
			Seq: uint64(i + 1), Kind: "request", Time: start.Add(time.Duration(i+1) * 100 * time.Millisecond),
			Text: recorder.Text{Text: text}, Answer: recorder.Answer{Verdict: "allow", Rule: "default"}, Done: &recorder.Done{Rows: 1, Tag: "SELECT 1"},
		})
	}
	return s
}

func open(t *testing.T, s *recorder.Transcript, p page.Proof) *browser.Browser {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	var text bytes.Buffer
	if err := page.Write(&text, s, page.Page{Proof: p, Version: "test", Made: start}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return browser.Open(t, file)
}

// quiet fails the test if the page asked for more than itself, or its console
// has anything.
func quiet(t *testing.T, b *browser.Browser) {
	t.Helper()
	if got := b.Requests(); len(got) != 1 || !strings.HasPrefix(got[0], "file://") {
		t.Errorf("the page asked for %q, want itself alone", got)
	}
	if got := b.Said(); len(got) != 0 {
		t.Errorf("the console has %q, want nothing", got)
	}
}

// What is recorded was written by others, who may have meant it for whoever
// looks at it.
func TestNothingThatIsRecordedCanBeMoreThanText(t *testing.T) {
	t.Parallel()
	hostile := []string{
		`</script><script>document.title = 'owned'</script>`,
		`<!--<script>`, `]]><img src="https://attacker.invalid/x" onerror="document.title='owned'">`,
		"line\u2028separator\u2029here", "{{data}} {{script}} ${document.title='owned'}", `'"` + "`" + `\u003c/script\u003e`,
		"right\u202eto left", "esc\x1b[31m nul\x00 bell\a", "javascript:document.title='owned'",
	}
	s := sample(hostile...)
	all := strings.Join(hostile, " ")
	s.Workload, s.User, s.Application, s.Outcome, s.Exe = all, all, all, all, all
	s.Claims, s.Labels = map[string]string{all: all}, map[string]string{"__proto__": all}
	e := s.Entries[0]
	e.Answer = recorder.Answer{Verdict: "deny", Rule: all, Reason: all, Hint: all, Unclassified: all, Approval: all, Alerts: []string{all}, Shadows: []recorder.Shadow{{Verdict: "x y", Rule: all}}}
	e.Result = &recorder.Answer{Verdict: all}
	e.Done = &recorder.Done{Code: all, Message: all, By: map[string]int64{all: 1}}
	e.Columns = []recorder.Column{{Table: all, Column: all, Masked: true, As: all}}
	e.Rows = []*recorder.Rows{{Columns: hostile, Rows: [][]*string{{&hostile[0], &all, nil}}, Cut: all}}
	e.Votes = []recorder.Vote{{What: all, By: all, Reason: all}}
	e.Claims = map[string]string{all: all}
	s.Entries[1].Raw = []byte("select '\xff\x1b\xc3('")
	b := open(t, s, page.Proof{State: "bad", Words: all, Log: all, Key: all})
	for i, text := range hostile {
		b.Text(fmt.Sprintf("go(%d)", i))
		want := strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`, "\u202e", `\u202e`, "\x1b", `\x1b`, "\x00", `\x00`, "\a", `\x07`).Replace(text)
		if i == 1 {
			want = `select '\xff\x1b\xc3('`
		}
		if got := b.Text("document.querySelector('#detail pre').textContent"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := b.Text("document.title"); got != "Session "+s.ID {
		t.Errorf("the title is %q", got)
	}
	if got := b.Text("document.querySelectorAll('img, iframe, a, script:not(#data)').length"); got != "1" {
		t.Errorf("the page has %s elements that load something, want its script alone", got)
	}
	quiet(t, b)
}

// The policy is what holds if all else fails: a script that came in anyway does
// not run, and nothing can be loaded.
func TestThePageCannotLoadOrRunAnythingElse(t *testing.T) {
	t.Parallel()
	b := open(t, sample("select 1"), page.Proof{})
	b.Text(`(() => {
		const s = document.createElement('script'); s.textContent = "document.title = 'owned'"; document.body.append(s);
		const i = document.createElement('img'); i.src = 'http://127.0.0.1:1/x.png'; document.body.append(i);
		window.asked = fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'refused');
	})()`)
	if got := b.Text("window.asked"); got != "refused" {
		t.Errorf("a request was %s", got)
	}
	if got := b.Text("document.title"); strings.Contains(got, "owned") {
		t.Error("a script that was put in did run")
	}
	if got := b.Said(); len(got) < 3 {
		t.Errorf("the console has %q, want a refusal of each", got)
	}
}

func TestAPageOfManyStatementsOpensAndSeeks(t *testing.T) {
	t.Parallel()
	texts := make([]string, 100_000)
	for i := range texts {
		texts[i] = fmt.Sprintf("select balance from accounts where id = %d", i)
	}
	b := open(t, sample(texts...), page.Proof{})
	b.Await("document.querySelector('#count').textContent === '100,000 shown'")
	if got := b.Text("document.querySelectorAll('.row').length < 100"); got != "true" {
		t.Errorf("all rows are in the page")
	}
	b.Do(chromedp.Focus(chromedp.ID("list")), chromedp.KeyEvent(kb.End))
	if got := b.Text("document.querySelector('[aria-selected=true] .said').textContent"); got != texts[99_999] {
		t.Errorf("at the end there is %q, want %q", got, texts[99_999])
	}
	b.Do(chromedp.SendKeys(chromedp.ID("search"), "id = 77777"))
	b.Await("document.querySelector('#count').textContent === '1 of 100,000'")
	quiet(t, b)
}
