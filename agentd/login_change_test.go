package agentd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/control"
)

// A password that is changed at the server and in its file holds for the next
// connection. Those that are logged in go on.
func TestARotatedPasswordHoldsForTheNextConnection(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	file := secretFile(t, loginSecret, 0o600)
	a := loginAgentd(t, server, ", credential: lab", []loginCase{{name: "lab", credential: "user: scram_user, password: {file: " + file + "}"}})
	before := converse(t, a, server)
	before.says(t, "before")
	server.SQL(t, "alter role scram_user password 'rotated'")
	if out, err := a.Captured(t, stranger(server, "select 1;")).CombinedOutput(); err == nil || !strings.Contains(string(out), `credential "lab": password authentication failed`) {
		t.Errorf("with the old password psql printed %s (%v)", out, err)
	}
	write(t, file, "rotated\n")
	if got := output(t, a.Captured(t, stranger(server, "select 'in';"))); got != "in\n" {
		t.Errorf("with the new password psql printed %q", got)
	}
	before.says(t, "still here")
}

// A helper is asked once for many connections, and again when what it said has
// expired or a server does not take it.
func TestAHelperIsAskedAgainWhenItsPasswordIsNotTaken(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	dir := t.TempDir()
	password, runs := filepath.Join(dir, "password"), filepath.Join(dir, "runs")
	write(t, password, loginSecret)
	script := fmt.Sprintf("echo >> %s; cat %s", runs, password)
	a := loginAgentd(t, server, ", credential: lab", []loginCase{{name: "lab", credential: "user: scram_user, password: {exec: {command: [/bin/sh, -c, '" + script + "'], every: 1h}}"}})
	count := func() int {
		text, _ := os.ReadFile(runs)
		return len(text)
	}
	for range 3 {
		output(t, a.Captured(t, stranger(server, "select 1;")))
	}
	if got := count(); got != 1 {
		t.Errorf("the helper ran %d times for three connections, want once", got)
	}
	server.SQL(t, "alter role scram_user password 'rotated'")
	write(t, password, "rotated")
	refused := 0
	for a.Captured(t, stranger(server, "select 1;")).Run() != nil { // for a second at most
		if refused++; refused > 100 {
			t.Fatal("the helper is not asked again")
		}
	}
	if got := count(); got != 2 || refused == 0 {
		t.Errorf("the helper ran %d times, want a second time once its password was not taken", got)
	}
}

// A session is what it began as; the configuration in force decides on the
// next. A credential or rule that does not go with the rest changes nothing.
func TestAChangedCredentialHoldsForTheNextConnection(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	secret := secretFile(t, loginSecret, 0o600)
	a := loginAgentd(t, server, ", credential: lab", []loginCase{{name: "lab", credential: "user: scram_user, password: {file: " + secret + "}"}})
	text, err := os.ReadFile(a.Config)
	if err != nil {
		t.Fatal(err)
	}
	session := converse(t, a, server)
	user := func() string { return output(t, named(t, a, "someone", stranger(server, "select session_user;"))) }
	if got := user(); got != "scram_user\n" {
		t.Errorf("psql is %q, want scram_user", got)
	}
	loaded := status(t, a).Config.Loaded
	write(t, a.Config, strings.Replace(string(text), "user: scram_user", "user: md5_user, methods: [md5]", 1))
	eventually(t, a, "the credential is another", func(s control.Status) bool { return s.Config.Loaded.After(loaded) })
	if got := user(); got != "md5_user\n" {
		t.Errorf("after the change psql is %q, want md5_user", got)
	}
	if got := session.say(t, "select session_user;"); got != "scram_user\n" {
		t.Errorf("the session from before is %q, want scram_user", got)
	}
	write(t, a.Config, strings.Replace(string(text), "- {name: lab,", "- {name: other,", 1))
	s := eventually(t, a, "a target names a credential that is none", func(s control.Status) bool { return s.Config.Error != "" })
	if !strings.Contains(s.Config.Error, `no credential is called "lab"`) {
		t.Errorf("got %q, want the credential named", s.Config.Error)
	}
	without := strings.NewReplacer("- {name: lab,", "- {name: other,", "credential: lab", "credential: other").Replace(string(text))
	write(t, a.Config, without)
	s = eventually(t, a, "a rule names a credential that is none", func(s control.Status) bool { return s.Policy.Error != "" })
	if !strings.Contains(s.Policy.Error, `rule "as-lab" assumes credential "lab", which the configuration does not have`) {
		t.Errorf("got %q, want the rule and the credential named", s.Policy.Error)
	}
	if got := user(); got != "md5_user\n" {
		t.Errorf("with mistakes in the files psql is %q, want md5_user as before", got)
	}
}

// slowHello is a client that logs in byte by byte.
const slowHello = `
import socket, struct, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
p = b"user\0x\0database\0orders\0\0"
for b in struct.pack(">II", len(p) + 8, 3 << 16 | int(sys.argv[3])) + p:
    s.sendall(bytes([b]))
data = b""
while b"Z\0\0\0\5I" not in data:
    got = s.recv(4096)
    if not got: break
    data += got
print(data[:1].decode(), data.count(b"R\0\0\0"), b"R\0\0\0\x08\0\0\0\0" in data)
`

func TestEveryVersionOfTheProtocolLogsIn(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	a := loginAgentd(t, server, ", credential: lab", []loginCase{{name: "lab", credential: "user: scram_user, password: {file: " + secretFile(t, loginSecret, 0o600) + "}"}})
	for minor, want := range map[string]string{"0": "R 1 True\n", "2": "v 1 True\n"} { // this server speaks 3.0, and says so
		cmd := exec.Command("/usr/bin/python3", "-c", slowHello, server.Addr.Addr().String(), fmt.Sprint(server.Addr.Port()), minor)
		if got := output(t, a.Captured(t, cmd)); got != want {
			t.Errorf("3.%s: the client read %q, want %q", minor, got, want)
		}
	}
}
