package agentd_test

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// throw is a captured client that sends bytes to a server, closes its half,
// and prints what comes back.
const throw = `
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
c.settimeout(20)
try:
    c.sendall(bytes.fromhex(sys.argv[3]))
    c.shutdown(socket.SHUT_WR)
    while True:
        b = c.recv(65536)
        if not b: break
        sys.stdout.buffer.write(b)
except OSError as e:
    print("\nend:", type(e).__name__)
`

// message frames a PostgreSQL message, type first.
func message(kind string, body string) string {
	return kind + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

func TestHostileBytesReachNoServer(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	startup := message("", "\x00\x03\x00\x00user\x00postgres\x00database\x00orders\x00\x00")
	for _, tt := range []struct{ name, bytes, want string }{
		{"garbage", "\xff\xfe\x00garbage that is no protocol, evil-marker", ""},
		{"HTTP", "GET /evil-marker HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		{"TLS without asking", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 evil-marker", ""},
		{"a start-up of 2 GiB", "\x7f\xff\xff\xff\x00\x03\x00\x00user\x00evil-marker", ""},
		{"a negative start-up", "\xff\xff\xff\xff\x00\x03\x00\x00user\x00evil-marker", ""},
		{"a start-up cut short", startup[:20], ""},
		{"protocol 2", message("", "\x00\x02\x00\x00evil-marker\x00\x00"), ""},
		{"a query before the login ends", startup + message("Q", "select 'evil-marker'\x00"), ""},
		{"a message of 2 GiB", startup + "Q\x7f\xff\xff\xffselect 'evil-marker'", ""},
		{"a message of -1 bytes", startup + "Q\xff\xff\xff\xffselect 'evil-marker'", ""},
		{"an unknown message", startup + message("~", "evil-marker"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("/usr/bin/python3", "-c", throw, server.Addr.Addr().String(),
				portOf(server), hex.EncodeToString([]byte(tt.bytes)))
			output(t, agentd.Captured(t, cmd))
		})
	}
	if log := server.Log(); strings.Contains(log, "evil-marker") {
		t.Errorf("the server saw what it should not:\n%s", log)
	}
	if got := output(t, agentd.Captured(t, psql(server, "select 'still here';"))); got != "still here\n" {
		t.Errorf("after all that psql printed %q", got)
	}
}

func TestStatementTooLongIsRefusedAtEverySize(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server, Config: "limits: {statement: 1MiB}\n"})
	for _, size := range []int{1 << 10, 1<<20 - 100, 1 << 20, 9 << 20, 64 << 20} {
		file := t.TempDir() + "/statement.sql"
		text := "select '" + strings.Repeat("x", size) + "'; drop table customers;"
		// One simple query: psql would send the two on their own.
		if err := os.WriteFile(file, []byte("\\set ON_ERROR_STOP off\n"+strings.ReplaceAll(text, ";", `\;`)+"\n;\nselect 'goes on';\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := psql(server)
		cmd.Args = append(cmd.Args, "-f", file)
		got := output(t, agentd.Captured(t, cmd))
		if !strings.Contains(got, "42501") || !strings.HasSuffix(got, "goes on\n") {
			t.Errorf("%d bytes: psql printed %.300q, want a refusal and a session that goes on", size, got)
		}
	}
	if log := server.Log(); strings.Contains(log, "drop table") {
		t.Error("the refused statement reached the server")
	}
}

// A session may make agentd keep one statement of the longest length that is
// judged, and a little besides; not what is longer, however long.
func TestMemoryOfASessionIsBoundedWhateverTheLengthOfItsStatements(t *testing.T) {
	t.Parallel()
	const sessions, limit, size = 8, 1 << 20, 64 << 20
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server, Config: "limits: {statement: 1MiB}\n"})
	file := filepath.Join(t.TempDir(), "statement.sql")
	if err := os.WriteFile(file, []byte("select '"+strings.Repeat("x", size)+"';\nselect 'goes on';\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := agentd.Process.Peak(t)
	var running sync.WaitGroup
	for range sessions {
		cmd := psql(server)
		cmd.Args = append(cmd.Args, "-f", file)
		cmd = agentd.Captured(t, cmd)
		running.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "goes on\n") {
				t.Errorf("psql: %v, printed %.300q", err, out)
			}
		})
	}
	running.Wait()
	grown := agentd.Process.Peak(t) - before
	t.Logf("%d sessions with a statement of %d MiB each: %d KiB more at most, %d KiB a session", sessions, size>>20, grown>>10, grown>>10/sessions)
	if most := int64(sessions * (4*limit + 1<<20)); grown > most { // what is collected late is counted, too
		t.Errorf("agentd grew by %d KiB, want %d at most", grown>>10, most>>10)
	}
}

func TestTargetThatIsNotListedIsRefusedAndRecorded(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful})
	cmd := agentd.Captured(t, psql(server, "select 1;"))
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("psql reached a server that no target names: %s", out)
	}
	list, err := agentd.Ctl(t, "sessions", "list", "-o", "json")
	if err != nil || !strings.Contains(list, server.Addr.String()) {
		t.Errorf("sessions list shows no refused connection: %v\n%s", err, list)
	}
}
