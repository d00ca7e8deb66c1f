package callback

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/policy"
)

// A book is where the desk records.
type book struct {
	mu    sync.Mutex
	notes []string
	full  bool
}

func (b *book) Note(kind, text string, attrs ...any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return errors.New("the disk is full")
	}
	b.notes = append(b.notes, fmt.Sprintln(append([]any{kind, text}, attrs...)...))
	return nil
}

func (b *book) has(t *testing.T, words ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.notes[len(b.notes)-1]
	for _, w := range words {
		if !strings.Contains(last, w) {
			t.Errorf("the last note is %q, want %q in it", last, w)
		}
	}
}

const (
	aliceToken = "alice-token-0123456789abcdef"
	bobToken   = "bobs--token-0123456789abcdef"
)

// A scene is a server over a real desk, and a client that trusts it.
type scene struct {
	*Server
	desk   *approvals.Desk
	book   *book
	client *http.Client
	url    string
	addr   string
	pool   *x509.CertPool
	seq    uint64
}

func newScene(t *testing.T) *scene {
	t.Helper()
	lender := httptest.NewTLSServer(http.NotFoundHandler()) // of its certificate
	pair := lender.TLS.Certificates[0]
	pool := x509.NewCertPool()
	pool.AddCert(lender.Certificate())
	lender.Close()

	b := &book{}
	desk := approvals.Open(approvals.Options{Recorder: b, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { desk.End("the test is over") })
	uid := uint32(1000)
	s := &scene{desk: desk, book: b, pool: pool, Server: &Server{
		Log: slog.New(slog.DiscardHandler), Desk: desk, Links: NewLinks(),
		Certificate: func() (*tls.Certificate, error) { return &pair, nil },
		Approvers: func() []Approver {
			return []Approver{
				{Name: "alice", Groups: []string{"dba"}, Token: text(aliceToken)},
				{Name: "bob", UID: &uid, Token: text(bobToken)},
				{Name: "short", Token: text("short")},
				{Name: "none", Token: func() (string, error) { return "", errors.New("no such file") }},
			}
		},
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.addr = l.Addr().String()
	s.url = "https://" + s.addr
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}}
	s.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return s
}

func text(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// ask has something wait for approval.
func (s *scene) ask(t *testing.T, terms policy.Terms) string {
	t.Helper()
	s.seq++
	terms.Rule = "ddl"
	terms.Need = max(1, terms.Need)
	standing := s.desk.Consult(&approvals.Question{
		Session: &policy.Session{
			ID:       "session-1",
			Identity: policy.Identity{Workload: "agents/<b>x</b>", Source: "unit", Cgroup: "/a", Process: policy.Process{UID: 1000}},
			Target:   policy.Target{Name: "orders", Address: netip.MustParseAddrPort("10.0.0.5:5432"), Protocol: "postgres"},
		},
		Seq: s.seq, Terms: terms, Statement: `drop table orders -- <script>alert(1)</script>`,
		Digest: sha256.Sum256([]byte(fmt.Sprint(s.seq))),
	})
	if standing.State != approvals.Pending {
		t.Fatalf("the request is %+v, want pending", standing)
	}
	return standing.ID
}

func (s *scene) state(t *testing.T, id string) approvals.State {
	t.Helper()
	r, err := s.desk.Find(id)
	if err != nil {
		t.Fatal(err)
	}
	return r.State
}

// do sends a request and returns the answer.
func (s *scene) do(t *testing.T, method, path, body string, head ...string) (int, string, http.Header) {
	t.Helper()
	where := path
	if !strings.HasPrefix(path, "https:") {
		where = s.url + path
	}
	r, err := http.NewRequest(method, where, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	a, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(got), a.Header
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
)

func (s *scene) tool(t *testing.T, id, token, body string) (int, string) {
	t.Helper()
	c, got, _ := s.do(t, "POST", "/approvals/"+id, body, "Content-Type", asJSON, "Authorization", "Bearer "+token)
	return c, got
}

func TestAToolDecidesWithItsPersonsToken(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{By: []string{"dba"}})
	c, got := s.tool(t, id, aliceToken, `{"decision": "approve", "reason": "fine"}`)
	if c != 200 || s.state(t, id) != approvals.Granted {
		t.Fatalf("got %d %s, and the request is %s, want it granted", c, got, s.state(t, id))
	}
	s.book.has(t, "granted", "by alice", "via callback", "fine")
	if c, _ := s.tool(t, id, aliceToken, `{"decision": "deny", "reason": "no"}`); c != http.StatusConflict {
		t.Errorf("decided again: got %d, want 409", c)
	}
	id = s.ask(t, policy.Terms{})
	if c, got := s.tool(t, id, aliceToken, `{"decision": "deny", "reason": "not today"}`); c != 200 || s.state(t, id) != approvals.Denied {
		t.Errorf("got %d %s, and the request is %s, want it denied", c, got, s.state(t, id))
	}
}

func TestWhoMayNotDecideDoesNot(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{By: []string{"dba"}})
	for _, tt := range []struct {
		name, token string
		want        int
	}{
		{"no token", "", 401},
		{"a wrong one", "alice-token-0123456789abcdeF", 401},
		{"half of one", aliceToken[:14], 401},
		{"more than one", aliceToken + "x", 401},
		{"one that is too short to be any", "short", 401},
		{"somebody of no such group", bobToken, 403},
	} {
		if c, got := s.tool(t, id, tt.token, `{"decision": "approve"}`); c != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.name, c, got, tt.want)
		}
	}
	own := s.ask(t, policy.Terms{})
	if c, got := s.tool(t, own, bobToken, `{"decision": "approve"}`); c != 403 || !strings.Contains(got, "own") {
		t.Errorf("his own agent's: got %d %s, want 403", c, got)
	}
	for _, id := range []string{id, own} {
		if got := s.state(t, id); got != approvals.Pending {
			t.Errorf("the request is %s, want pending", got)
		}
	}
}

func TestAVoteThatCannotBeRecordedHasNoEffect(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{})
	s.book.mu.Lock()
	s.book.full = true
	s.book.mu.Unlock()
	if c, _ := s.tool(t, id, aliceToken, `{"decision": "approve"}`); c != 500 || s.state(t, id) != approvals.Pending {
		t.Errorf("got %d, and the request is %s, want 500 and pending", c, s.state(t, id))
	}
}

func TestWhatIsNoDecisionIsRefused(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{})
	for _, tt := range []struct {
		name, path, media, body string
		want                    int
	}{
		{"nothing", id, asJSON, ``, 400},
		{"another word", id, asJSON, `{"decision": "yes"}`, 400},
		{"another key", id, asJSON, `{"decision": "approve", "force": true}`, 400},
		{"two", id, asJSON, `{"decision": "approve"}{"decision": "approve"}`, 400},
		{"a denial without a reason", id, asJSON, `{"decision": "deny"}`, 400},
		{"what was shown is something else", id, asJSON, `{"decision": "approve", "shown": "abcd"}`, 400},
		{"a huge body", id, asJSON, `{"decision": "approve", "reason": "` + strings.Repeat("x", 1<<20) + `"}`, 400},
		{"a form of another kind", id, "multipart/form-data", "", 415},
		{"plain text, as other sites can send", id, "text/plain", `{"decision": "approve"}`, 415},
		{"the beginning of an id", id[:15], asJSON, `{"decision": "approve"}`, 404},
		{"another id", strings.Repeat("0", 16), asJSON, `{"decision": "approve"}`, 404},
		{"an id of upper case", strings.ToUpper(id), asJSON, `{"decision": "approve"}`, 404},
		{"an escaped path", "%2e%2e%2fapprovals%2f" + id, asJSON, `{"decision": "approve"}`, 404},
		{"a path below", id + "/approve", asJSON, `{"decision": "approve"}`, 404},
	} {
		c, got, _ := s.do(t, "POST", "/approvals/"+tt.path, tt.body, "Content-Type", tt.media, "Authorization", "Bearer "+aliceToken)
		if c != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.name, c, got, tt.want)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
		s.do(t, method, "/approvals/"+id+"?decision=approve", `{"decision": "approve"}`, "Content-Type", asJSON, "Authorization", "Bearer "+aliceToken)
	}
	if got := s.state(t, id); got != approvals.Pending {
		t.Errorf("the request is %s, want pending", got)
	}
}

// link follows a link and returns the form on the page.
func (s *scene) link(t *testing.T, link string) (url.Values, string, http.Header) {
	t.Helper()
	c, page, head := s.do(t, "GET", link, "")
	if c != 200 {
		t.Fatalf("the link answers %d: %s", c, page)
	}
	form := url.Values{}
	for _, m := range regexp.MustCompile(`type="hidden" name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	return form, page, head
}

func TestALinkOfOnesOwnDecidesOnceAndOnlyWhenAsked(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{Need: 2})
	link := s.Links.Link(s.url, id, "alice", time.Now().Add(time.Minute))
	for range 3 { // previews
		s.link(t, link)
	}
	form, page, head := s.link(t, link)
	if got := s.state(t, id); got != approvals.Pending {
		t.Fatalf("looking at it made it %s", got)
	}
	if strings.Contains(page, "<script>") || strings.Contains(page, "<b>x</b>") {
		t.Errorf("what agents say is read as HTML: %s", page)
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)[1]
	sum := sha256.Sum256([]byte(style))
	if csp := head.Get("Content-Security-Policy"); !strings.Contains(csp, base64.StdEncoding.EncodeToString(sum[:])) {
		t.Errorf("the policy %q is not of the style", csp)
	}
	form.Set("decision", "deny")
	if c, _, _ := s.do(t, "POST", "/approvals/"+id, form.Encode(), "Content-Type", asForm); c != 400 {
		t.Errorf("a denial without a reason: got %d, want 400", c)
	}
	form.Set("decision", "approve")
	if c, got, _ := s.do(t, "POST", "/approvals/"+id, form.Encode(), "Content-Type", asForm); c != 200 {
		t.Fatalf("got %d %s, want 200", c, got)
	}
	s.book.has(t, "agreed", "by alice", "seen true")
	form.Set("decision", "deny")
	form.Set("reason", "replayed")
	if c, _, _ := s.do(t, "POST", "/approvals/"+id, form.Encode(), "Content-Type", asForm); c != 403 {
		t.Errorf("used again: got %d, want 403", c)
	}
	if c, _, _ := s.do(t, "GET", link, ""); c != 403 {
		t.Errorf("looked at again: got %d, want 403", c)
	}
	if got := s.state(t, id); got != approvals.Pending {
		t.Errorf("the request is %s, want pending: two have to agree", got)
	}
}

func TestALinkThatManyReadNeedsATokenBesides(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{By: []string{"dba"}})
	form, _, _ := s.link(t, s.Links.Link(s.url, id, "", time.Now().Add(time.Minute)))
	form.Set("decision", "approve")
	for _, tt := range []struct {
		token string
		want  int
	}{{"", 401}, {"wrong-token-0123456789abcdef", 401}, {bobToken, 403}, {aliceToken, 200}} {
		form.Set("token", tt.token)
		if c, got, _ := s.do(t, "POST", "/approvals/"+id, form.Encode(), "Content-Type", asForm); c != tt.want {
			t.Errorf("token %q: got %d %s, want %d", tt.token, c, got, tt.want)
		}
	}
	if got := s.state(t, id); got != approvals.Granted {
		t.Errorf("the request is %s, want granted", got)
	}
}

func TestALinkIsForOnePersonOneRequestAndOneTime(t *testing.T) {
	s := newScene(t)
	s.Links.now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	soon := s.Links.now().Add(time.Minute)
	id, other := s.ask(t, policy.Terms{}), s.ask(t, policy.Terms{})
	good := s.Links.token(id, "alice", soon)
	for _, tt := range []struct{ name, id, as, token string }{
		{"another request", other, "alice", good},
		{"another person", id, "bob", good},
		{"made to be nobody's", id, "", good},
		{"nobody's made one's own", id, "alice", s.Links.token(id, "", soon)},
		{"expired", id, "alice", s.Links.token(id, "alice", s.Links.now())},
		{"another agentd's", id, "alice", NewLinks().token(id, "alice", soon)},
		{"a byte more", id, "alice", good + "AA"},
		{"none", id, "alice", ""},
		{"somebody who is no approver any more", id, "carol", s.Links.token(id, "carol", soon)},
	} {
		form := url.Values{"t": {tt.token}, "as": {tt.as}, "decision": {"approve"}}
		if c, got, _ := s.do(t, "POST", "/approvals/"+tt.id, form.Encode(), "Content-Type", asForm); c != 403 && c != 401 {
			t.Errorf("%s: got %d %s, want 403 or 401", tt.name, c, got)
		}
	}
	for _, id := range []string{id, other} {
		if got := s.state(t, id); got != approvals.Pending {
			t.Errorf("the request is %s, want pending", got)
		}
	}
}

func TestOfManyUsesOfALinkAtOnceOneDecides(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{Need: 5})
	token := s.Links.token(id, "alice", time.Now().Add(time.Minute))
	var all sync.WaitGroup
	results := make(chan bool, 50)
	for range 50 {
		all.Go(func() { results <- s.Links.take(token, id, "alice") == nil })
	}
	all.Wait()
	close(results)
	n := 0
	for good := range results {
		if good {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d took the link, want 1", n)
	}
}

func TestAnotherSiteCannotSendTheForm(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{})
	form, _, _ := s.link(t, s.Links.Link(s.url, id, "alice", time.Now().Add(time.Minute)))
	form.Set("decision", "approve")
	for _, head := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		if c, _, _ := s.do(t, "POST", "/approvals/"+id, form.Encode(), append(head, "Content-Type", asForm)...); c != 403 {
			t.Errorf("with %s: got %d, want 403", head, c)
		}
	}
	if c, _, _ := s.do(t, "POST", "/approvals/"+id, form.Encode(), "Content-Type", asForm, "Sec-Fetch-Site", "same-origin"); c != 200 {
		t.Errorf("from its own page: got %d, want 200", c)
	}
}

func TestWhoGuessesIsNotHeardForAWhile(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{})
	for range maxFailures {
		if c, _ := s.tool(t, id, "guess-guess-guess-guess-guess", `{"decision": "approve"}`); c != 401 {
			t.Fatalf("got %d, want 401", c)
		}
	}
	c, _, head := s.do(t, "POST", "/approvals/"+id, `{"decision": "approve"}`, "Content-Type", asJSON, "Authorization", "Bearer "+aliceToken)
	if c != 429 || head.Get("Retry-After") == "" {
		t.Errorf("got %d, want 429 and when to try again", c)
	}
}

func TestManyAddressesCannotMakeThePaceForgetOne(t *testing.T) {
	p := newPace(3)
	now := time.Unix(1_800_000_000, 0)
	p.now = func() time.Time { return now }
	bad := netip.MustParseAddr("192.0.2.1")
	p.add(bad, 3)
	for i := range 3 * maxRemembered {
		p.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
	}
	if !p.over(bad) || len(p.of) > maxRemembered+1 {
		t.Errorf("over: %t, and %d addresses are remembered, want at most %d", p.over(bad), len(p.of), maxRemembered)
	}
	now = now.Add(failurePeriod)
	if p.over(bad) {
		t.Error("its time is over, and it is not heard still")
	}
}

func TestASlowClientIsHungUpOn(t *testing.T) {
	s := newScene(t)
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.pool, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /approvals/x HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_ = conn.SetReadDeadline(start.Add(30 * time.Second))
	if _, err := bufio.NewReader(conn).ReadString(0); err == nil || errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 25*time.Second {
		t.Errorf("the connection is there after %s: %v", time.Since(start), err)
	}
}

func TestWhoOpensManyConnectionsKeepsNobodyElseOut(t *testing.T) {
	b := newBounded(nil, 10, 3)
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	n := 0
	for range 20 {
		if b.enter(one) {
			n++
		}
	}
	if n != 3 || !b.enter(other) {
		t.Errorf("%d connections of one address, want 3, and room for another's", n)
	}
	b.left(one)
	if !b.enter(one) {
		t.Error("one has left, and there is no room")
	}
	if got, want := source("[2001:db8::1]:1"), source("[2001:db8::ffff:2]:2"); got != want {
		t.Errorf("%s and %s are of one machine", got, want)
	}
}

func TestSomebodysTokenThatIsAnothersTooIsNobodys(t *testing.T) {
	s := newScene(t)
	s.Approvers = func() []Approver {
		return []Approver{{Name: "alice", Token: text(aliceToken)}, {Name: "bob", Token: text(aliceToken)}}
	}
	if who, err := s.who(aliceToken); err == nil {
		t.Errorf("it is %s's, want nobody's", who.Name)
	}
}

func TestAToolReadsWhatWaits(t *testing.T) {
	s := newScene(t)
	id := s.ask(t, policy.Terms{})
	if c, _, _ := s.do(t, "GET", "/approvals", ""); c != 401 {
		t.Errorf("without a token: got %d, want 401", c)
	}
	c, got, _ := s.do(t, "GET", "/approvals", "", "Authorization", "Bearer "+aliceToken)
	var list []approvals.Request
	if err := json.NewDecoder(bytes.NewReader([]byte(got))).Decode(&list); c != 200 || err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("got %d %s, want %s", c, got, id)
	}
	if c, got, _ := s.do(t, "GET", "/approvals/"+id, "", "Authorization", "Bearer "+aliceToken); c != 200 || !strings.Contains(got, "drop table orders") {
		t.Errorf("got %d %s, want the request", c, got)
	}
}
