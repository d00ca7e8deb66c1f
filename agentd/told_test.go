package agentd_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/internal/asker"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/webhook"
)

// A told notice is one that came, and was well signed.
type toldNotice struct {
	Kind, What, Title, Statement, Decide string
	Facts                                map[string]string
	Data                                 map[string]any
}

const (
	hookSecret    = "a-secret-to-sign-with"
	approverToken = "carols-token-0123456789abcdef"
)

// A press is a real HTTPS server that agentd tells, and where people decide.
type press struct {
	t      *testing.T
	told   chan toldNotice
	mu     sync.Mutex // guards bodies
	bodies []string   // of all that agentd has sent
	came   *sync.Cond // one has come
	where  string     // the callback's URL
	people *http.Client
}

// tell has an office's agentd tell, and listen to, people. It is called before
// the office starts.
func newPress(t *testing.T, as string) (*press, string) {
	t.Helper()
	p := &press{t: t, told: make(chan toldNotice, 1000)}
	p.came = sync.NewCond(&p.mu)
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := webhook.Verify([]byte(hookSecret), body, r.Header.Get(webhook.Header), time.Now(), time.Minute); err != nil {
			t.Errorf("a notice came with a wrong signature: %v", err)
		}
		var n struct{ Agentd toldNotice }
		if err := json.Unmarshal(body, &n); err != nil {
			t.Errorf("a notice is no JSON: %v", err)
		}
		p.mu.Lock()
		p.bodies = append(p.bodies, string(body))
		p.came.Broadcast()
		p.mu.Unlock()
		p.told <- n.Agentd
	}))
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "hook-ca.crt")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})))
	write(t, filepath.Join(dir, "secret"), hookSecret+"\n")
	write(t, filepath.Join(dir, "carol"), approverToken+"\n")

	authority := lab.NewAuthority(t)
	pair := authority.Issue(t, lab.Issue{Name: "callback", IPs: []string{"127.0.0.1"}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.where = "https://" + l.Addr().String()
	l.Close()
	pool := x509.NewCertPool()
	text, err := os.ReadFile(authority.File)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("the CA of the callback: %v", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	p.people = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return p, fmt.Sprintf(`
webhooks:
  - {name: oncall, url: %q, ca: %q, secret: {file: %q}, as: %q}
callback:
  listen: %q
  url: %q
  cert: %q
  key: %q
  approvers: [{name: carol, token: {file: %q}, groups: [dba]}]
`, hook.URL+"/hook", ca, filepath.Join(dir, "secret"), as, strings.TrimPrefix(p.where, "https://"), p.where, pair.Cert, pair.Key, filepath.Join(dir, "carol"))
}

// next returns the next notice of a kind.
func (p *press) next(kind, what string) toldNotice {
	p.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case n := <-p.told:
			if n.Kind == kind && n.What == what {
				return n
			}
		case <-limit:
			p.t.Fatalf("nobody was told of %s %s", kind, what)
		}
	}
}

// heard returns the first body that fits, once there is one.
func (p *press) heard(fits func(body string) bool) string {
	p.t.Helper()
	late := false
	defer time.AfterFunc(time.Minute, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		late = true
		p.came.Broadcast()
	}).Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !late {
		if i := slices.IndexFunc(p.bodies, fits); i >= 0 {
			return p.bodies[i]
		}
		p.came.Wait()
	}
	p.t.Error("nobody was told")
	return ""
}

func (p *press) post(where, media, body string, head ...string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodPost, where, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", media)
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	return p.answer(p.people.Do(r))
}

func (p *press) answer(a *http.Response, err error) (int, string) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return a.StatusCode, string(text)
}

func TestPeopleElsewhereAreToldAndDecide(t *testing.T) {
	t.Parallel()
	p, config := newPress(t, "carol")
	o := newOffice(t, askingRules, lab.Setup{Config: config})
	a := o.agent()

	a.do(asker.Order{SQL: "insert into ran values (1)", Simple: true})
	id := a.held(0)
	asked := p.next("approval", "asked")
	if asked.Facts["request"] != id || asked.Facts["workload"] != "agents" || asked.Statement != "insert into ran values (1)" {
		t.Errorf("people are told %+v", asked)
	}
	code, text := p.post(p.where+"/approvals/"+id, "application/json", `{"decision": "approve", "reason": "by a tool"}`, "Authorization", "Bearer "+approverToken)
	if code != http.StatusOK {
		t.Fatalf("approve: %d %s", code, text)
	}
	if got := a.result(0); got.Tag != "INSERT 0 1" || o.ran(1) != "1" {
		t.Errorf("approved: %+v, and it has run %s times", got, o.ran(1))
	}
	if granted := p.next("approval", "granted"); granted.Facts["by"] != "carol" || granted.Facts["reason"] != "by a tool" {
		t.Errorf("people are told %+v", granted)
	}

	a.do(asker.Order{SQL: "insert into ran values (2)", Simple: true})
	id = a.held(0)
	link := p.next("approval", "asked").Decide
	for range 2 { // a preview and a person
		if code, text = p.answer(p.people.Get(link)); code != http.StatusOK {
			t.Fatalf("the link: %d %s", code, text)
		}
	}
	if got := o.ran(2); got != "0" {
		t.Fatal("looking at the link let it run")
	}
	form := url.Values{"decision": {"approve"}, "reason": {"by the link"}}
	for _, m := range regexp.MustCompile(`type="hidden" name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		form.Set(m[1], m[2])
	}
	if code, text = p.post(p.where+"/approvals/"+id, "application/x-www-form-urlencoded", form.Encode()); code != http.StatusOK {
		t.Fatalf("approve by the link: %d %s", code, text)
	}
	if got := a.result(0); got.Tag != "INSERT 0 1" || o.ran(2) != "1" {
		t.Errorf("approved: %+v, and it has run %s times", got, o.ran(2))
	}
	if r := o.request(id); len(r.Votes) != 1 || r.Votes[0].By != "carol" || r.Votes[0].Via != "callback" {
		t.Errorf("the votes are %+v, want carol's by the callback", r.Votes)
	}

	a.do(asker.Order{SQL: "insert into ran values (3)", Simple: true})
	id = a.held(0)
	if code, _ = p.post(p.where+"/approvals/"+id, "application/json", `{"decision": "approve"}`, "Authorization", "Bearer "+approverToken+"x"); code != http.StatusUnauthorized {
		t.Errorf("with a wrong token: %d, want 401", code)
	}
	if code, text = p.post(p.where+"/approvals/"+id, "application/json", `{"decision": "deny", "reason": "no more"}`, "Authorization", "Bearer "+approverToken); code != http.StatusOK {
		t.Errorf("deny: %d %s", code, text)
	}
	if got := a.result(0); got.Code != "42501" || !strings.Contains(got.Message, "no more") {
		t.Errorf("denied: %+v", got)
	}
	p.next("approval", "denied")
	if out, err := o.agentd.Ctl(t, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

func TestPeopleAreToldOfAlertsAndOfFilesThatAreWrong(t *testing.T) {
	t.Parallel()
	p, config := newPress(t, "carol")
	o := newOffice(t, `
rules:
  - name: looks-at-roles
    on: request
    when: sql.tables.exists(t, t.contains("pg_roles"))
    do: alert
`, lab.Setup{Config: config})
	a := o.agent()
	for range 3 {
		if got := a.say(asker.Order{SQL: "select count(*) from pg_roles", Simple: true}); got.Tag != "SELECT 1" {
			t.Fatalf("%+v", got)
		}
	}
	n := p.next("alert", "alert")
	if n.Facts["rule"] != "looks-at-roles" || n.Facts["workload"] != "agents" || n.Statement != "select count(*) from pg_roles" || n.Data["verdict"] != "allow" {
		t.Errorf("people are told %+v", n)
	}
	policy := filepath.Join(o.agentd.Dir, "policies", "policy.yaml")
	good, err := os.ReadFile(policy)
	if err != nil {
		t.Fatal(err)
	}
	write(t, policy, "rules: [{name: wrong}]\n")
	if n := p.next("reload", "trouble"); !strings.Contains(n.Facts["problem"], "is missing") {
		t.Errorf("people are told %+v", n)
	}
	write(t, policy, string(good))
	p.next("reload", "well")
	select {
	case n := <-p.told:
		if n.Kind == "alert" {
			t.Errorf("people are told %+v so soon again", n)
		}
	default:
	}
}
