package agentd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/conversation"
	"agentd.dev/agentd/internal/lab"
)

// loginSecret is the password of the users that agentd logs in as in these
// tests. Nobody but agentd and the server ever says it.
const loginSecret = "Xyzzy-plugh-7391-never-seen"

// unusualPassword is one that SASLprep changes.
const unusualPassword = "ª\u2168\u00a0x"

// loginUsers are the users; the server asks each in another way.
const loginUsers = `
create role scram_user login password '` + loginSecret + `';
create role plain_user login password '` + loginSecret + `';
create role trusted_user login;
create role rejected_user login password '` + loginSecret + `';
create role unusual_user login password '` + unusualPassword + `';
set password_encryption = md5;
create role md5_user login password '` + loginSecret + `';
`

func loginServer(t testing.TB) *lab.Server {
	t.Helper()
	server := lab.Postgres(t,
		lab.HBA("host all md5_user all md5"), lab.HBA("host all plain_user all password"),
		lab.HBA("host all trusted_user all trust"), lab.HBA("host all rejected_user all reject"),
		lab.Setting("log_line_prefix=%m [%p] %q%u@%d %a "))
	server.SQL(t, loginUsers)
	return server
}

// A loginCase is a credential, and the workload of its name that logs in with
// it.
type loginCase struct {
	name, credential string
	want             string // what psql prints, or some of it
}

// loginAgentd is a daemon whose target "orders" is the server, with a
// credential for each case, which the workload of its name assumes.
func loginAgentd(t testing.TB, server *lab.Server, target string, cases []loginCase) *lab.Agentd {
	t.Helper()
	config, rules := strings.Builder{}, strings.Builder{}
	fmt.Fprintf(&config, "targets: [{name: orders, address: %q, protocol: postgres, default: allow%s}]\ncredentials:\n", server.Addr, target)
	rules.WriteString("rules:\n")
	for _, tt := range cases {
		fmt.Fprintf(&config, "  - {name: %s, %s}\n", tt.name, tt.credential)
		fmt.Fprintf(&rules, "  - {name: as-%[1]s, on: login, do: assume, credential: %[1]s, when: workload.name == %[1]q}\n", tt.name)
	}
	return lab.StartAgentd(t, lab.Setup{Policy: rules.String(), Config: config.String()})
}

// named returns cmd as a run of that name.
func named(t testing.TB, a *lab.Agentd, name string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	run := a.Captured(t, cmd)
	for i, arg := range run.Args {
		if arg == "--name" {
			run.Args[i+1] = name
		}
	}
	return run
}

// secretFile writes a file that holds a secret.
func secretFile(t testing.TB, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// stranger is psql as a user that the server does not know, without a password.
func stranger(s *lab.Server, statements ...string) *exec.Cmd {
	cmd := exec.Command("psql", "-XqAtw", "-v", "VERBOSITY=verbose", "-h", s.Addr.Addr().String(),
		"-p", fmt.Sprint(s.Addr.Port()), "-U", "the-agent", "-d", s.Database)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PGAPPNAME=report")
	cmd.Stdin = strings.NewReader(strings.Join(statements, "\n"))
	return cmd
}

func TestAgentdLogsInInTheClientsPlace(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	secret, unusual := secretFile(t, loginSecret+"\n", 0o600), secretFile(t, unusualPassword, 0o600)
	cases := []loginCase{
		{name: "scram", credential: "user: scram_user, password: {file: " + secret + "}", want: "scram_user"},
		{name: "md5", credential: "user: md5_user, password: {file: " + secret + "}, methods: [md5]", want: "md5_user"},
		{name: "plain", credential: "user: plain_user, password: {file: " + secret + "}, methods: [password]", want: "plain_user"},
		{name: "trusted", credential: "user: trusted_user", want: "trusted_user"},
		{name: "unusual", credential: "user: unusual_user, password: {file: " + unusual + "}", want: "unusual_user"},
		{name: "helper", credential: `password: {exec: {command: [/bin/sh, -c, 'printf "{\"user\": \"scram_user\", \"password\": \"$(cat ` + secret + `)\"}"']}}`, want: "scram_user"},
		{name: "both-files", credential: "userFile: " + secretFile(t, "scram_user\n", 0o644) + ", password: {file: " + secret + "}", want: "scram_user"},
	}
	a := loginAgentd(t, server, "", cases)
	for _, tt := range cases {
		got := output(t, named(t, a, tt.name, stranger(server, "select session_user, current_database();", "show application_name;")))
		if want := tt.want + "|orders\nagentd/" + tt.name + " report\n"; got != want {
			t.Errorf("%s: psql printed %q, want %q", tt.name, got, want)
		}
		if log := server.Log(); !strings.Contains(log, tt.want+"@orders agentd/"+tt.name+" report LOG:  statement: select session_user") {
			t.Errorf("%s: the server's log does not name the workload", tt.name)
		}
		var sessions []struct{ ID, User, As, Credential string }
		if err := json.Unmarshal([]byte(mustCtl(t, a, "sessions", "list", "--limit", "1", "-o", "json")), &sessions); err != nil {
			t.Fatal(err)
		}
		s := sessions[0]
		if s.User != "the-agent" || s.As != tt.want || s.Credential != tt.name {
			t.Errorf("%s: the record says %+v", tt.name, s)
		}
		if shown := mustCtl(t, a, "sessions", "show", s.ID); !strings.Contains(shown, "with credential "+tt.name+", as "+tt.want) {
			t.Errorf("%s: the session is shown as\n%s", tt.name, shown)
		}
	}
	// A workload that no rule names logs in itself, to a target without a credential.
	if out, err := named(t, a, "other", stranger(server, "select 1;")).CombinedOutput(); err == nil || !strings.Contains(string(out), "no password supplied") {
		t.Errorf("without a credential psql printed %s (%v), want to be asked for a password", out, err)
	}
	if got := output(t, named(t, a, "other", psql(server, "select session_user;"))); got != server.User+"\n" {
		t.Errorf("without a credential psql printed %q, want its own user", got)
	}
	for _, c := range status(t, a).Credentials {
		if c.Problem != "" || c.Fetched.IsZero() || c.Warning != "" {
			t.Errorf("status says %+v", c)
		}
	}
}

func mustCtl(t *testing.T, a *lab.Agentd, args ...string) string {
	t.Helper()
	out, err := a.Ctl(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every client runs its whole script without knowing a password, and sees what
// it sees when it logs in itself. What the raw client prints of its login is
// the login's own.
func TestClientsNeedNoPassword(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, conversation.Fixture)
	config := fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: allow, unclassified: allow, credential: own, label: off}]\n"+
		"credentials: [{name: own, user: %s, password: {file: %s}}]\n", server.Addr, server.User, secretFile(t, server.Password, 0o600))
	a := lab.StartAgentd(t, lab.Setup{Policy: judged, Config: config})
	stranger := *server
	stranger.User, stranger.Password = "nobody", "nothing"
	for _, client := range conversation.Clients {
		if client.Name == "raw bytes" {
			continue
		}
		t.Run(client.Name, func(t *testing.T) {
			want := client.Transcript(t, client.Cmd(t, server))
			got := client.Transcript(t, a.Captured(t, client.Cmd(t, &stranger)))
			if diff := conversation.Difference(got, want); diff != "" {
				t.Errorf("captured differs from direct: %s", diff)
			}
		})
	}
}

// failingLogins are credentials that come to nothing, each in its own way.
func failingLogins(t testing.TB) []loginCase {
	right := secretFile(t, loginSecret, 0o600)
	return []loginCase{
		{"wrong", "user: scram_user, password: {file: " + secretFile(t, "not-"+loginSecret, 0o600) + "}", `agentd could not log in with credential "wrong": password authentication failed for user "scram_user"`},
		{"rejected", "user: rejected_user, password: {file: " + right + "}", `agentd could not log in with credential "rejected": pg_hba.conf rejects connection`},
		{"weak", "user: md5_user, password: {file: " + right + "}", "MD5 hash of the password, which the credential's `methods` do not allow"},
		{"shown", "user: plain_user, password: {file: " + right + "}", "the password itself, which the credential's `methods` do not allow"},
		{"none", "user: scram_user", `the server asks for a password, and the credential has none`},
		{"empty", "user: scram_user, password: {file: " + secretFile(t, "\n", 0o600) + "}", "the password is empty"},
		{"missing", "user: scram_user, password: {file: /nowhere/password}", "/nowhere/password: no such file"},
		{"open", "user: scram_user, password: {file: " + secretFile(t, loginSecret, 0o622) + "}", "can be written by others (mode 0622): chmod go-w"},
		{"variable", "user: scram_user, password: {env: NO_SUCH_VARIABLE}", "agentd was started without the variable NO_SUCH_VARIABLE"},
		{"helper", "user: scram_user, password: {exec: {command: [/bin/sh, -c, 'cat " + right + " >&2; cat " + right + "; exit 3']}}", "helper sh ended with exit status 3"},
		{"odd", "user: scram_user, password: {exec: {command: [/bin/sh, -c, 'echo \"{\"; cat " + right + "']}}", "begins as JSON and is not"},
	}
}

func TestALoginThatAgentdCannotMakeIsToldByTheNameOfItsCredential(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	cases := failingLogins(t)
	a := loginAgentd(t, server, "", cases)
	for _, tt := range cases {
		out, err := named(t, a, tt.name, stranger(server, "select 1;")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), `credential "`+tt.name+`"`) {
			t.Errorf("%s: psql printed %s (%v), want %q", tt.name, out, err, tt.want)
		}
		shown := mustCtl(t, a, "sessions", "list", "--limit", "1", "-o", "json")
		if !strings.Contains(shown, tt.name) {
			t.Errorf("%s: the record does not say why:\n%s", tt.name, shown)
		}
	}
	problems := map[string]string{}
	for _, c := range status(t, a).Credentials {
		problems[c.Name] = c.Problem
	}
	for _, name := range []string{"empty", "missing", "open", "variable", "helper", "odd"} {
		if problems[name] == "" {
			t.Errorf("status has nothing against %s", name)
		}
	}
	if out, err := a.Ctl(t, "status"); err == nil || !strings.Contains(out, "missing cannot be used: /nowhere/password: no such file") {
		t.Errorf("status says %v and\n%s", err, out)
	}
}

// With a label of its session, the server's log leads to agentd's record.
func TestALabelCanNameTheSession(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	a := loginAgentd(t, server, ", label: session", []loginCase{{name: "job", credential: "user: scram_user, password: {file: " + secretFile(t, loginSecret, 0o600) + "}"}})
	got := output(t, named(t, a, "job", stranger(server, "show application_name;")))
	id, ok := strings.CutPrefix(strings.Fields(got)[0], "agentd/job/")
	if !ok || !strings.HasSuffix(got, " report\n") {
		t.Fatalf("psql printed %q", got)
	}
	if shown := mustCtl(t, a, "sessions", "show", id); !strings.Contains(shown, "show application_name") {
		t.Errorf("session %s is\n%s", id, shown)
	}
}
