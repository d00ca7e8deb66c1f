package agentd_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
)

// A leak is a route by which a secret comes to agentd, and what is known of
// where it may be found afterwards.
type leak struct {
	group, name string
	// say is what psql is told, with {} in the secret's place.
	say string
	// turns are said in the protocol's own messages in place of say.
	turns func(secret string) [][]byte
	// do brings secrets in another way, and returns those that were.
	do func(s *leakScene, secret string) []string
	as string // the workload, "" for lab

	kept []string // in which places it is to be found, sorted; none: never
	why  string
}

// A leakScene is where secrets are sent.
type leakScene struct {
	t      *testing.T
	server *lab.Server
	agentd *lab.Agentd
	press  *press
	own    map[string]string // secrets of agentd's own, by what they are

	mu   sync.Mutex                   // guards what follows
	seen map[string]map[string]string // what each place held, by what was looked at
}

// saw notes what a place holds.
func (s *leakScene) saw(place, what, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[place] == nil {
		s.seen[place] = map[string]string{}
	}
	s.seen[place][what] += text
}

// Every secret is another text. It is sent by its route, and then everything
// that agentd keeps or says is searched for all of them.
func TestNoSecretIsInWhatAgentdKeepsOrSays(t *testing.T) {
	t.Parallel()
	chosen := regexp.MustCompile(os.Getenv("LEAKS")) // for whoever works on some of them
	s := newLeakScene(t)
	sent := make([][]string, len(leaks))
	next := make(chan int)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for i := range next {
				if chosen.MatchString(leaks[i].group + ", " + leaks[i].name) {
					sent[i] = s.send(&leaks[i], i)
				}
			}
		})
	}
	for i := range leaks {
		next <- i
	}
	close(next)
	all.Wait()
	for _, p := range places {
		p.look(s)
	}
	found := map[*leak][]string{}
	for i := range leaks {
		l := &leaks[i]
		where := s.find(sent[i])
		found[l] = slices.Sorted(maps.Keys(where))
		if sent[i] != nil && !slices.Equal(found[l], l.kept) {
			t.Errorf("%s, %s: found in %q, want it in %q%s", l.group, l.name, found[l], l.kept, glimpses(where))
		}
	}
	if os.Getenv("LEAKS") == "" && !t.Failed() {
		compareSecrets(t, found)
	}
}

// send sends the secret of a route, and returns what to look for.
func (s *leakScene) send(l *leak, i int) []string {
	secret := fmt.Sprintf("zq%03d%s", i, strings.ToLower(rand.Text()[:16]))
	switch {
	case l.do != nil:
		return append(l.do(s, secret), secret)
	case l.turns != nil:
		hear(s.t, s.server, []string{s.server.Database}, []dialogue.Session{{User: s.server.User, Turns: l.turns(secret)}}, s.by(l.as))
	default:
		out, _ := s.by(l.as)(psql(s.server, strings.ReplaceAll(l.say, "{}", secret)+";")).CombinedOutput()
		if strings.Contains(string(out), "psql: error: connection") {
			s.t.Errorf("%s, %s: psql printed %s", l.group, l.name, out)
		}
	}
	return []string{secret}
}

// by captures a command as a workload.
func (s *leakScene) by(name string) func(*exec.Cmd) *exec.Cmd {
	if name == "" {
		name = "lab"
	}
	return func(cmd *exec.Cmd) *exec.Cmd { return named(s.t, s.agentd, name, cmd) }
}

// find returns the places that hold one of the secrets, in any form, with some of
// what is around it.
func (s *leakScene) find(secrets []string) map[string]string {
	found := map[string]string{}
	for _, secret := range secrets {
		if len(secret) < 8 {
			s.t.Errorf("%q is too short to be looked for", secret)
		}
		for place, texts := range s.seen {
			for what, text := range texts {
				for _, form := range disguises(secret) {
					if i := strings.Index(text, form); i >= 0 {
						found[place] = fmt.Sprintf("%s: %q", what, text[max(0, i-100):min(len(text), i+100)])
						break
					}
				}
			}
		}
	}
	return found
}

// disguises are forms in which a text can be in others: as it is, in
// hexadecimal, and in base64 wherever in three bytes it begins.
func disguises(text string) []string {
	forms := []string{text, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text)))}
	for before := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + text))
		from := []int{0, 2, 3}[before]
		forms = append(forms, b[from:len(b)-4])
	}
	return forms
}

func glimpses(where map[string]string) string {
	var b strings.Builder
	for place, text := range where {
		fmt.Fprintf(&b, "\n\t%s: %s", place, text)
	}
	return b.String()
}

// compareSecrets compares docs/secrets.md with what was found. UPDATE_DOCS=1
// go test ./agentd -run TestNoSecretIsInWhatAgentdKeepsOrSays writes it.
func compareSecrets(t *testing.T, found map[*leak][]string) {
	t.Helper()
	path := filepath.Join("..", "docs", "secrets.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- the table -->\n"
	head, _, ok := strings.Cut(string(old), mark)
	if !ok {
		t.Fatalf("%s has no line %q", path, mark)
	}
	var b strings.Builder
	b.WriteString(head + mark + "\n| what | route | where it is kept | why |\n|---|---|---|---|\n")
	for i := range leaks {
		l := &leaks[i]
		where := "nowhere"
		if len(found[l]) > 0 {
			where = strings.Join(found[l], ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", l.group, l.name, where, l.why)
	}
	if b.String() == string(old) {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Errorf("%s is not what was found; UPDATE_DOCS=1 writes it. It differs in\n%s", path, changed(string(old), b.String()))
		return
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
