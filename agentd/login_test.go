package agentd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

// loginSecret is the password of every user that agentd logs in as in these
// tests. Nobody else ever says it.
const loginSecret = "Xyzzy-plugh-7391-" + "never-seen"

// loginUsers are the users, by the ways in which the server asks them.
const loginUsers = `
create role scram_user login password '` + loginSecret + `';
create role plain_user login password '` + loginSecret + `';
create role trusted_user login;
create role rejected_user login password '` + loginSecret + `';
create role writer login password '` + loginSecret + `';
create role unusual login password 'ªⅨ' || u&'\00A0' || 'x';
set password_encryption = md5;
create role md5_user login password '` + loginSecret + `';
`

// loginServer is a server that asks each of these users in another way.
func loginServer(t testing.TB) *lab.Server {
	t.Helper()
	server := lab.Postgres(t,
		lab.HBA("host all md5_user all md5"), lab.HBA("host all plain_user all password"),
		lab.HBA("host all trusted_user all trust"), lab.HBA("host all rejected_user all reject"),
		lab.Setting("log_line_prefix=%m [%p] %q%u@%d %a "), lab.Setting("log_connections=on"))
	server.SQL(t, strings.ReplaceAll(loginUsers, `'ªⅨ' || u&'\00A0' || 'x'`, "'"+unusualPassword+"'"))
	return server
}

// unusualPassword is one that SASLprep changes.
const unusualPassword = "ª\u2168\u00a0x"

// loginAgentd is a daemon whose target "orders" is the server, with these
// credentials, and more keys of the target.
func loginAgentd(t testing.TB, server *lab.Server, credentials, target, policy string) *lab.Agentd {
	t.Helper()
	return lab.StartAgentd(t, lab.Setup{Policy: policy, Config: fmt.Sprintf(
		"targets: [{name: orders, address: %q, protocol: postgres, default: allow%s}]\ncredentials:\n%s", server.Addr, target, credentials)})
}

// secretFile writes a file that holds a secret.
func secretFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// stranger is psql as a user that the server does not know, with a password
// that is nobody's.
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
	secret := secretFile(t, loginSecret+"\n")
	for _, tt := range []struct{ user, more string }{
		{"scram_user", ""},
		{"md5_user", ", methods: [md5]"},
		{"plain_user", ", methods: [password]"},
		{"trusted_user", ""},
		{"unusual", ""},
	} {
		t.Run(tt.user, func(t *testing.T) {
			t.Parallel()
			file := secret
			if tt.user == "unusual" {
				file = secretFile(t, unusualPassword)
			}
			a := loginAgentd(t, server, fmt.Sprintf("  - {name: reading, user: %s, password: {file: %s}%s}\n", tt.user, file, tt.more), ", credential: reading", judged)
			got := output(t, a.Captured(t, stranger(server, "select current_user, current_database();", "show application_name;")))
			if want := tt.user + "|orders\nagentd/lab report\n"; got != want {
				t.Errorf("psql printed %q, want %q", got, want)
			}
			if log := server.Log(); !strings.Contains(log, tt.user+"@orders agentd/lab report LOG:  statement: select current_user") {
				t.Error("the server's log does not name the workload")
			}
			id := strings.Fields(strings.Split(mustCtl(t, a, "sessions", "list"), "\n")[1])[0]
			shown := mustCtl(t, a, "sessions", "show", id)
			if !strings.Contains(shown, "with credential reading, as "+tt.user) || !strings.Contains(shown, "user the-agent") {
				t.Errorf("the session does not show who logged in:\n%s", shown)
			}
		})
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

func TestALoginThatAgentdCannotMakeIsToldByTheNameOfItsCredential(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	wrong, empty := secretFile(t, "another-wrong-"+loginSecret), secretFile(t, "\n")
	open := secretFile(t, loginSecret)
	if err := os.Chmod(open, 0o622); err != nil {
		t.Fatal(err)
	}
	right := secretFile(t, loginSecret)
	for _, tt := range []struct{ name, credential, want string }{
		{"wrong", "user: scram_user, password: {file: " + wrong + "}", `agentd could not log in with credential "wrong": password authentication failed for user "scram_user"`},
		{"rejected", "user: rejected_user, password: {file: " + right + "}", `agentd could not log in with credential "rejected": pg_hba.conf rejects connection`},
		{"method", "user: md5_user, password: {file: " + right + "}", "MD5 hash of the password, which the credential's `methods` do not allow"},
		{"none", "user: scram_user", `the server asks for a password, and the credential has none`},
		{"empty", "user: scram_user, password: {file: " + empty + "}", "the password is empty"},
		{"missing", "user: scram_user, password: {file: /nowhere/password}", "/nowhere/password: no such file"},
		{"open", "user: scram_user, password: {file: " + open + "}", "can be written by others (mode 0622): chmod go-w"},
		{"variable", "user: scram_user, password: {env: NO_SUCH_VARIABLE}", "agentd was started without the variable NO_SUCH_VARIABLE"},
		{"helper", "user: scram_user, password: {exec: {command: [/bin/sh, -c, 'echo " + loginSecret + " >&2; exit 3']}}", "helper sh ended with exit status 3"},
		{"silent", "user: scram_user, password: {exec: {command: [/bin/true]}}", "the password that it printed is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := loginAgentd(t, server, fmt.Sprintf("  - {name: %s, %s}\n", tt.name, tt.credential), ", credential: "+tt.name, "")
			out, err := a.Captured(t, stranger(server, "select 1;")).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), `credential "`+tt.name+`"`) || strings.Contains(string(out), loginSecret) {
				t.Errorf("psql printed %s (%v), want %q", out, err, tt.want)
			}
			record := mustCtl(t, a, "sessions", "list", "-o", "json")
			if strings.Contains(record, loginSecret) || !strings.Contains(record, tt.name) {
				t.Errorf("the record says %s", record)
			}
		})
	}
}

var _ = control.Status{}
