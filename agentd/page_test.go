package agentd_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"agentd.dev/agentd/internal/asker"
	"agentd.dev/agentd/internal/browser"
	"agentd.dev/agentd/internal/lab"
)

// playedRules have a rule for all that a page can show.
const playedRules = `
rules:
  - {name: hide-mail, on: result, columns: [public.customers.email], do: mask, with: {text: "[masked]"}}
  - {name: no-drop, on: request, when: 'sql.verbs.exists(v, v == "drop")', do: deny, message: Dropping needs a person.}
  - {name: writes-need-a-person, on: request, when: 'sql.verbs.exists(v, v == "insert")', do: approve, expires: 1h}
`

// A session that the real daemon recorded is played in a real browser, from one
// file, which asks for nothing else.
func TestARecordedSessionPlaysInABrowser(t *testing.T) {
	t.Parallel()
	o := newOffice(t, playedRules, lab.Setup{Config: "record: {results: 64KiB}\n"})
	o.server.SQL(t, customers)
	a := o.agent()
	a.say(asker.Order{SQL: "select id, name, email from customers order by id", Simple: true})
	a.say(asker.Order{SQL: "drop table customers", Simple: true})
	a.say(asker.Order{SQL: "select '</script><script>document.title = ''owned''</script>' as markup", Simple: true})
	a.do(asker.Order{SQL: "insert into ran values (42)", Simple: true})
	o.approve(a.held(0))
	a.result(0)
	a.say(asker.Order{SQL: "selec 1", Simple: true})
	_ = a.cmd.Process.Kill()
	o.agentd.Process.Stop(syscall.SIGTERM)

	s := transcriptOf(t, o.agentd)
	file := filepath.Join(t.TempDir(), "session.html")
	cmd := exec.Command(lab.Binary(t, "./cmd/agentctl"), "sessions", "replay", s.ID, "--html", file, "--dir", o.agentd.Log, "--key", o.agentd.Key)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Verified: all") {
		t.Fatalf("agentctl: %v\n%s", err, out)
	}

	b := browser.Open(t, file)
	if got := b.Text("document.querySelector('#proof.proven').textContent"); !strings.HasPrefix(got, "Verified: all ") {
		t.Errorf("the page says of its proof: %q", got)
	}
	shows := func(what string, wants ...string) {
		t.Helper()
		got := b.Text("document.querySelector('#detail').innerText")
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the page shows %q, want %q in it", what, got, want)
			}
		}
	}

	// It plays, from the start to the end.
	first := b.Text("document.querySelector('#clock').textContent")
	b.Do(chromedp.SetValue(chromedp.ID("speed"), "100"), chromedp.Click(chromedp.ID("play")))
	b.Await("document.querySelector('#seek').value === '1000' && document.querySelector('#play').getAttribute('aria-label') === 'Play'")
	if got := b.Text("document.querySelector('#clock').textContent"); got == first {
		t.Errorf("it was played, and the clock stays at %q", got)
	}
	shows("at the end", "selec ?", "not understood", "denied")

	// It seeks, by the bar and by the keys.
	b.Do(chromedp.Focus(chromedp.ID("seek")), chromedp.KeyEvent(kb.Home))
	shows("at the start", "Before the first statement")
	b.Do(chromedp.Focus(chromedp.ID("list")), chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(kb.ArrowRight))
	shows("after the login", "select id, name, email", "masked")

	// Each filter leaves what it says.
	b.Do(chromedp.Click(chromedp.ID("only-masked")), chromedp.Focus(chromedp.ID("list")), chromedp.KeyEvent(kb.Home))
	shows("masked", "by rule hide-mail", "public.customers.email (column 3): shown as “[masked]”", "Ada", "[masked]", "NULL", "2 values masked (hide-mail 2)")
	if got := b.Text("document.querySelectorAll('#detail td.masked').length"); got != "3" {
		t.Errorf("%s cells are marked as masked, want 3", got)
	}
	b.Do(chromedp.Click(chromedp.ID("only-denied")), chromedp.Focus(chromedp.ID("list")), chromedp.KeyEvent(kb.Home))
	shows("denied", "drop table customers", "denied by rule no-drop", "Dropping needs a person.")
	b.Do(chromedp.Click(chromedp.ID("only-held")), chromedp.Focus(chromedp.ID("list")), chromedp.KeyEvent(kb.End))
	shows("held", "insert into ran", "approval asked", "approval granted by", "said the test", "approval used", "INSERT 0 1")

	// It is searched, and markup in it is text.
	b.Do(chromedp.Click(chromedp.ID("only-all")), chromedp.SendKeys(chromedp.ID("search"), "</script>"))
	b.Await("document.querySelector('#count').textContent.startsWith('1 of ')")
	b.Do(chromedp.Focus(chromedp.ID("list")), chromedp.KeyEvent(kb.Home))
	shows("found", "select '</script><script>document.title")
	if got := b.Text("document.title"); got != "Session "+s.ID {
		t.Errorf("the title is %q", got)
	}

	// It is light and dark, and can be read in both.
	seen := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b.Prefer(scheme)
		seen[scheme] = b.Text("getComputedStyle(document.body).backgroundColor + ' ' + getComputedStyle(document.body).color")
		if len(b.Picture()) == 0 {
			t.Errorf("%s: nothing is painted", scheme)
		}
	}
	if seen["light"] == seen["dark"] {
		t.Errorf("light and dark are both %q", seen["light"])
	}
	if got := b.Requests(); len(got) != 1 || got[0] != "file://"+file {
		t.Errorf("the page asked for %q, want itself alone", got)
	}
	if got := b.Said(); len(got) != 0 {
		t.Errorf("the console has %q, want nothing", got)
	}
}
