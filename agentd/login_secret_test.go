package agentd_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// The secret goes through every path, those that fail included, and is looked
// for wherever agentd leaves something.
func TestTheSecretIsNowhere(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	file := secretFile(t, loginSecret, 0o600)
	cases := append(failingLogins(t),
		loginCase{name: "right", credential: "user: scram_user, password: {file: " + file + "}"},
		loginCase{name: "plain", credential: "user: plain_user, password: {file: " + file + "}, methods: [password]"},
		loginCase{name: "hashed", credential: "user: md5_user, password: {file: " + file + "}, methods: [md5]"},
		loginCase{name: "environment", credential: "user: scram_user, password: {env: LOGIN_TEST_SECRET}"},
		loginCase{name: "telling", credential: "user: scram_user, password: {exec: {command: [/bin/sh, -c, 'cat " + file + "']}}"},
		loginCase{name: "unasked", credential: "user: trusted_user, password: {file: " + file + "}"},
	)
	a := loginAgentd(t, server, "", cases)
	a.Process.Stop(syscall.SIGTERM)
	a.Args = []string{"--log-level", "debug"}
	a.Wrap = []string{"env", "LOGIN_TEST_SECRET=" + loginSecret}
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}

	seen := map[string]string{} // what was looked at, and what it held
	for _, tt := range cases {
		out, err := named(t, a, tt.name, stranger(server, "select 1;", "select no_such_column;", "show all;")).CombinedOutput()
		if (err == nil) != (tt.want == "") {
			t.Errorf("%s: psql printed %s (%v)", tt.name, out, err)
		}
		seen["what psql printed as "+tt.name] = string(out)
		children(seen, a.Process.Cmd.Process.Pid)
	}
	gone := *server
	gone.Addr = server.Addr
	server.Process.Stop(syscall.SIGQUIT)
	out, _ := named(t, a, "right", stranger(&gone, "select 1;")).CombinedOutput()
	seen["what psql printed without a server"] = string(out)
	children(seen, a.Process.Cmd.Process.Pid)
	for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"targets", "-o", "json"}, {"sessions", "list", "-o", "json"}, {"workloads", "-o", "yaml"}} {
		out, _ := a.Ctl(t, args...) // status says no: some credentials are wrong
		seen["agentctl "+strings.Join(args, " ")] = out
	}
	for _, id := range sessionIDs(t, a) {
		seen["session "+id] = mustCtl(t, a, "sessions", "show", id, "-o", "json") + mustCtl(t, a, "sessions", "replay", id)
	}
	seen["metrics"] = overSocket(t, a.Socket, "/metrics")
	seen["status by HTTP"] = overSocket(t, a.Socket, "/v1/status")
	a.Process.Stop(syscall.SIGTERM)
	err := filepath.WalkDir(a.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		seen[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	if len(seen["metrics"]) < 1000 || len(seen[filepath.Join(a.Dir, "stderr")]) < 1000 || !strings.Contains(seen["status by HTTP"], "telling") {
		t.Error("some of what there is was not looked at")
	}
	for where, text := range seen {
		for _, form := range []string{loginSecret, hex.EncodeToString([]byte(loginSecret)), base64.StdEncoding.EncodeToString([]byte(loginSecret))[:30], "plugh"} {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s holds the secret: %q", where, text[max(0, i-100):min(len(text), i+100)])
				break
			}
		}
	}
}

// children notes the command lines and environments of what a process has
// started, and its own command line. Its own environment, as the kernel keeps
// it, is root's alone to see, and has what it was started with.
func children(seen map[string]string, pid int) {
	own, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may be gone
	seen["agentd's command line"] = string(own)
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		pids, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(pids)) {
			for _, name := range []string{"cmdline", "environ"} {
				text, _ := os.ReadFile("/proc/" + child + "/" + name)
				seen["/proc/"+child+"/"+name] = string(text)
			}
		}
	}
}

func sessionIDs(t *testing.T, a *lab.Agentd) (ids []string) {
	t.Helper()
	for i, line := range strings.Split(mustCtl(t, a, "sessions", "list"), "\n") {
		if words := strings.Fields(line); i > 0 && len(words) > 0 {
			ids = append(ids, words[0])
		}
	}
	return ids
}

// overSocket asks agentd's own socket, as any HTTP client would.
func overSocket(t *testing.T, socket, path string) string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(conn); err != nil {
		t.Fatal(err)
	}
	return answer.String()
}

// agentd leaves no core, unless it is told to.
func TestAgentdLeavesNoCore(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "0", "coreDumps: true\n": "unlimited"} {
		a := lab.NewAgentd(t, lab.Setup{Config: text})
		a.Wrap = []string{"prlimit", "--core=unlimited"}
		if err := a.Start(t); err != nil {
			t.Fatal(err)
		}
		proc := fmt.Sprintf("/proc/%d/", a.Process.Cmd.Process.Pid)
		limits, err := os.ReadFile(proc + "limits")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(limits)) {
			if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Fields(rest)[0] != want {
				t.Errorf("%q: the limit is %q, want %s", text, line, want)
			}
		}
	}
}

// With a password of its own making, an agent could log in without agentd, and
// lock agentd out.
func TestSessionsUnderACredentialMakeNoPasswords(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	server.SQL(t, "alter role scram_user superuser")
	secret := secretFile(t, loginSecret, 0o600)
	a := loginAgentd(t, server, "", []loginCase{
		{name: "agent", credential: "user: scram_user, password: {file: " + secret + "}"},
		{name: "admin", credential: "user: scram_user, password: {file: " + secret + "}, passwords: allow"},
	})
	for _, text := range []string{
		"alter role scram_user password 'mine'", "alter user current_user with encrypted password 'mine'",
		"ALTER /* */ ROLE scram_user VALID UNTIL 'infinity' PASSWORD 'mine'", "create role another login password 'mine'",
		"create user another password 'mine'", "select 1; alter role scram_user password null",
		"update pg_authid set rolpassword = 'mine' where rolname = 'scram_user'", "copy pg_catalog.pg_authid from stdin",
		"with mine as (update pg_authid set rolpassword = 'mine' returning rolname) select * from mine",
	} {
		out := output(t, named(t, a, "agent", stranger(server, text+";", "select 'goes on';")))
		if !strings.Contains(out, "ERROR:  42501: This gives a user of the database a password") || !strings.Contains(out, "goes on") {
			t.Errorf("%s: psql printed %s", text, out)
		}
	}
	for _, text := range []string{"alter role scram_user set work_mem = '8MB'", "create role another login", "select passwd from pg_shadow where false", "select rolname from pg_authid"} {
		if out, err := named(t, a, "agent", stranger(server, text+";")).CombinedOutput(); err != nil || strings.Contains(string(out), "a user of the database a password") {
			t.Errorf("%s: psql printed %s (%v)", text, out, err)
		}
	}
	if out := output(t, named(t, a, "admin", stranger(server, "create role third login password 'given';", "select 'made';"))); out != "made\n" {
		t.Errorf("where passwords are allowed psql printed %s", out)
	}
	if log := server.Log(); strings.Contains(log, "mine") {
		t.Error("a password reached the server")
	}
}

// A workload that may make user namespaces can make a network in which it is
// the server itself.
const playTheServer = `
import socket, struct, subprocess, sys, threading
host, port = sys.argv[1], int(sys.argv[2])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind((host, port))
l.listen()
def play():
    c, _ = l.accept()
    if c.recv(4096)[4:8] == b"\x04\xd2\x16\x2f": # does it have TLS?
        c.sendall(b"N")
        c.recv(4096)
    c.sendall(b"R" + struct.pack(">II", 8, 3))
    print("the server heard", c.recv(4096), flush=True)
threading.Thread(target=play, daemon=True).start()
s = socket.create_connection((host, port), timeout=10)
p = b"user\0x\0database\0orders\0\0"
s.sendall(struct.pack(">II", len(p) + 8, 3 << 16) + p)
print("the client heard", s.recv(4096), flush=True)
`

func TestAWorkloadCannotPlayTheServerInANetworkOfItsOwn(t *testing.T) {
	t.Parallel()
	server := loginServer(t)
	a := loginAgentd(t, server, ", credential: lab", []loginCase{{name: "lab", credential: "user: plain_user, password: {file: " + secretFile(t, loginSecret, 0o600) + "}, methods: [password, md5]"}})
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--net", "/usr/bin/python3", "-c", playTheServer, server.Addr.Addr().String(), fmt.Sprint(server.Addr.Port()))
	out, err := a.Captured(t, cmd).CombinedOutput()
	if strings.Contains(string(out), loginSecret) || !strings.Contains(string(out), "network namespace that the workload may have made itself") {
		t.Errorf("the workload printed %s (%v), want agentd to say nothing to that server", out, err)
	}
}
