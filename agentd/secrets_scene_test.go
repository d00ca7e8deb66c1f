package agentd_test

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// leakRules refuse, hold, tell people, and mask for one workload alone: where
// values are masked, less is recorded.
const leakRules = `
  - {name: no-refused, on: request, do: deny, when: 'sql.tables_written.exists(t, t == "public.refused")', message: Nobody writes there.}
  - {name: held, on: request, do: approve, when: 'sql.tables_written.exists(t, t == "public.held")', message: This needs a person., expires: 1h}
  - {name: alerted, on: request, do: alert, when: 'sql.tables_written.exists(t, t == "public.alerted")'}
  - {name: discreet, on: request, do: alert, when: 'sql.tables_written.exists(t, t == "public.discreet")'}
  - {name: hide, on: result, do: mask, when: 'workload.name == "masked"', columns: [public.people.ssn], with: {hash: true}}
  - {name: find, on: result, do: mask, when: 'workload.name == "finding"', find: [email], with: "[found]"}
`

const leakTables = `
create extension dblink; create extension postgres_fdw; create extension pgcrypto;
create table refused (id int, note text); create table held (id int, note text); create table alerted (id int, note text);
create table discreet (id int, note text); create table emails (id int, email text);
create table people (id int, ssn text, email text, password text); create table notes (id int unique, body text);
create table accounts (id int, login text, password text, api_key text);
create function shout(text) returns void language plpgsql as $$ begin raise notice '%', $1; raise exception '%', $1; end $$;
grant all on all tables in schema public to public;
grant usage on foreign data wrapper postgres_fdw to public;
`

func newLeakScene(t *testing.T) *leakScene {
	t.Helper()
	s := &leakScene{t: t, server: loginServer(t), own: map[string]string{}, seen: map[string]map[string]string{}}
	s.server.SQL(t, leakTables)
	s.server.SQL(t, "alter role "+s.server.User+" superuser")
	p, config := newPress(t, "carol")
	s.press = p
	s.own["the secret of a webhook"], s.own["an approver's token"] = hookSecret, approverToken
	s.own["a webhook's URL"] = "hook" + strings.ToLower(rand.Text())
	config = strings.Replace(config, "webhooks:\n", fmt.Sprintf("webhooks:\n  - {name: chat, urlFile: %q}\n",
		secretFile(t, "https://127.0.0.1:1/services/"+s.own["a webhook's URL"], 0o600)), 1)
	var rules strings.Builder
	rules.WriteString("rules:" + leakRules)
	config += "record: {results: 16KiB}\nidentity: {environment: [task=TASK_ID]}\ncredentials:\n"
	for _, c := range append(failingLogins(t), loginCase{name: "right", credential: "user: scram_user, password: {file: " + secretFile(t, loginSecret, 0o600) + "}"},
		loginCase{name: "hashed", credential: "user: md5_user, password: {file: " + secretFile(t, loginSecret, 0o600) + "}, methods: [md5]"},
		loginCase{name: "plain", credential: "user: plain_user, password: {file: " + secretFile(t, loginSecret, 0o600) + "}, methods: [password]"},
		loginCase{name: "environment", credential: "user: scram_user, password: {env: LOGIN_TEST_SECRET}"},
		loginCase{name: "telling", credential: "user: scram_user, password: {exec: {command: [/bin/sh, -c, 'cat " + secretFile(t, loginSecret, 0o600) + "']}}"}) {
		config += fmt.Sprintf("  - {name: %s, %s}\n", c.name, c.credential)
		fmt.Fprintf(&rules, "  - {name: as-%[1]s, on: login, do: assume, credential: %[1]s, when: workload.name == %[1]q}\n", c.name)
		s.own["credential "+c.name] = loginSecret
	}
	s.agentd = lab.NewAgentd(t, lab.Setup{Policy: rules.String(), Target: s.server, Config: config})
	s.agentd.Args = []string{"--log-level", "debug"}
	s.agentd.Wrap = []string{"env", "LOGIN_TEST_SECRET=" + loginSecret}
	if err := s.agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	return s
}

// places are where secrets are looked for. A new way in which agentd keeps or
// tells something is a line here.
var places = []struct {
	name string
	look func(*leakScene)
}{
	{"approvals", func(s *leakScene) {
		s.ctl("approvals", "approvals", "list", "--all", "-o", "json")
		s.saw("approvals", "GET /v1/approvals", overSocket(s.t, s.agentd.Socket, "/v1/approvals?all=true"))
	}},
	{"webhooks", func(s *leakScene) {
		s.press.mu.Lock()
		defer s.press.mu.Unlock()
		s.saw("webhooks", "bodies", strings.Join(s.press.bodies, "\n"))
	}},
	{"API", func(s *leakScene) {
		for _, path := range []string{"/v1/status", "/v1/workloads", "/v1/targets", "/v1/connections", "/v1/ca", "/v1/log", "/v1/nothing", "/metrics"} {
			s.saw("API", "GET "+path, overSocket(s.t, s.agentd.Socket, path))
		}
		for _, args := range [][]string{{"status"}, {"targets", "-o", "json"}, {"workloads", "-o", "yaml"}, {"ca", "show"}, {"connections", "-o", "json"}} {
			s.ctl("API", args...)
		}
	}},
	{"record", func(s *leakScene) {
		s.saw("record", "GET /v1/sessions", overSocket(s.t, s.agentd.Socket, "/v1/sessions?limit=10000"))
		for _, args := range [][]string{{"sessions", "list", "-o", "json"}, {"sessions", "search", "select", "-o", "json"}, {"sessions", "stats", "-o", "json"}} {
			s.ctl("record", args...)
		}
		for i, id := range allSessions(s.t, s.agentd) {
			s.saw("record", "GET /v1/sessions/"+id, overSocket(s.t, s.agentd.Socket, "/v1/sessions/"+id))
			if i%12 == 0 { // they show what is in the other's answer, each in its way
				s.ctl("record", "sessions", "show", id)
				s.ctl("record", "sessions", "replay", id, "--no-wait")
			}
		}
	}},
	{"processes", func(s *leakScene) {
		seen := map[string]string{}
		children(seen, s.agentd.Process.Cmd.Process.Pid)
		for what, text := range seen {
			s.saw("processes", what, text)
		}
	}},
	{"own log", func(s *leakScene) { s.saw("own log", "standard error", s.agentd.Said()) }},
	{"record", func(s *leakScene) { // the files, once it has ended
		s.agentd.Process.Stop(syscall.SIGTERM)
		s.saw("own log", "standard error, at the end", s.agentd.Said())
		keys := filepath.Join(filepath.Dir(s.agentd.Log), "keys")
		err := filepath.WalkDir(filepath.Dir(s.agentd.Log), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			place := "record"
			if filepath.Dir(path) == keys && !strings.HasSuffix(path, ".pub") && !strings.HasSuffix(path, ".crt") {
				place = "keys"
			}
			s.saw(place, path, string(text))
			return err
		})
		if err != nil {
			s.t.Error(err)
		}
	}},
}

func (s *leakScene) ctl(place string, args ...string) {
	out, err := s.agentd.Ctl(s.t, args...) // status says no: some credentials are wrong
	if err != nil {
		out += err.Error()
	}
	s.saw(place, "agentctl "+strings.Join(args, " "), out)
}

// allSessions are the ids of all sessions.
func allSessions(t *testing.T, a *lab.Agentd) (ids []string) {
	for _, sum := range summaries(t, a, "--limit", "10000") {
		ids = append(ids, sum.ID)
	}
	return ids
}

// ownKeys are the secret lines of the files in which agentd keeps keys.
func (s *leakScene) ownKeys() (keys []string) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(s.agentd.Log), "keys", "*"))
	if err != nil || len(files) == 0 {
		s.t.Errorf("agentd has no keys: %v", err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, ".pub") || strings.HasSuffix(path, ".crt") {
			continue
		}
		keys = append(keys, secretLines(s.t, path)...)
	}
	return keys
}

// secretLines are the lines of a file that hold a key, but for what names it.
func secretLines(t *testing.T, path string) (lines []string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.FieldsFunc(line, func(r rune) bool { return r == '+' || r == '\n' })
		if len(words) > 0 && !strings.HasPrefix(line, "-----") {
			lines = append(lines, slices.MaxFunc(words, func(a, b string) int { return len(a) - len(b) }))
		}
	}
	return lines
}

// withEnv is cmd with more of an environment.
func withEnv(cmd *exec.Cmd, vars ...string) *exec.Cmd {
	cmd.Env = append(cmd.Environ(), vars...)
	return cmd
}
