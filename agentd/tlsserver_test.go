package agentd_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

func TestAServerThatIsNotTheRightOneIsRefusedInWords(t *testing.T) {
	t.Parallel()
	ca, others := lab.NewAuthority(t), lab.NewAuthority(t)
	client, stranger := ca.Issue(t, lab.Issue{Name: "agent"}), others.Issue(t, lab.Issue{Name: "agent"})
	trust := lab.Access("host all all all trust")
	server := func(issue lab.Issue, by *lab.Authority, addresses ...string) *lab.Server {
		return lab.Postgres(t, lab.ListenOn(addresses...), trust, lab.OverTLS(by.Issue(t, issue), ""))
	}
	right := server(lab.Issue{Name: "orders.internal", IPs: []string{"127.0.7.2"}}, ca, "127.0.7.1", "127.0.7.2", "127.0.7.3", "127.0.7.4")
	expired := server(lab.Issue{Name: "orders.internal", Expired: true}, ca, "127.0.7.5", "127.0.7.6")
	wrong := server(lab.Issue{Name: "orders.internal"}, others, "127.0.7.7", "127.0.7.8", "127.0.7.9")
	certs := lab.Postgres(t, lab.ListenOn("127.0.7.10", "127.0.7.11", "127.0.7.12"),
		lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal"}), ca.File), lab.Access("hostssl all all all cert"))
	full := "server: verify-full, name: orders.internal, ca: " + ca.File
	places := []tlsPlace{
		{"127.0.7.1", right, "{server: verify-full, name: other.internal, ca: " + ca.File + "}"},
		{"127.0.7.2", right, "{server: verify-full, name: 127.0.7.2, ca: " + ca.File + "}"},
		{"127.0.7.3", right, "{server: verify-ca, ca: " + ca.File + "}"},
		{"127.0.7.4", right, "{server: verify-full, name: orders.internal}"}, // of the system's CAs
		{"127.0.7.5", expired, "{" + full + "}"},
		{"127.0.7.6", expired, "{server: require}"},
		{"127.0.7.7", wrong, "{" + full + "}"},
		{"127.0.7.8", wrong, "{server: verify-ca, ca: " + ca.File + "}"},
		{"127.0.7.9", wrong, "{server: prefer}"},
		{"127.0.7.10", certs, "{" + full + "}"},
		{"127.0.7.11", certs, fmt.Sprintf("{%s, cert: %s, key: %s}", full, client.Cert, client.Key)},
		{"127.0.7.12", certs, fmt.Sprintf("{%s, cert: %s, key: %s}", full, stranger.Cert, stranger.Key)},
	}
	s := newSecured(t, ca, others, places)
	s.attempts(t, []login{
		{"127.0.7.1", "", "certificate is valid for orders.internal, not other.internal (agentd, rule tls)"},
		{"127.0.7.2", "", "plain/tls"},
		{"127.0.7.3", "", "plain/tls"},
		{"127.0.7.4", "", "certificate signed by unknown authority (agentd, rule tls)"},
		{"127.0.7.5", "", "certificate has expired or is not yet valid"},
		{"127.0.7.6", "", "plain/tls"},
		{"127.0.7.7", "", "HINT:  If this is the right server, ask the operator of this node to add the CA of its certificate to `ca`"},
		{"127.0.7.8", "", "certificate signed by unknown authority (agentd, rule tls)"},
		{"127.0.7.9", "", "plain/tls"},
		{"127.0.7.10", "", "connection requires a valid client certificate"}, // the server's own words
		{"127.0.7.11", "", "plain/tls"},
		{"127.0.7.12", "sslmode=disable", "The server ended TLS: unknown certificate authority (agentd, rule tls)"},
	})
	list, err := s.Ctl(t, "sessions", "list", "-o", "json", "--target", "t0")
	if err != nil || !strings.Contains(list, `"denied": 1`) {
		t.Errorf("the refused session shows as %s, %v; want one denied", list, err)
	}
}

// Whoever sits between agentd and the server can say what he likes in plaintext.
// None of it is read as if the server had said it, and with require and above
// nothing goes on in plaintext.
func TestWhoeverIsInBetweenIsNotBelieved(t *testing.T) {
	t.Parallel()
	const injected = "E\x00\x00\x00\x21SFATAL\x00C08P01\x00Minjected\x00\x00"
	for _, tt := range []struct{ name, mode, answer, want string }{
		{"no where yes is due", "require", "N", "The server has no TLS"},
		{"plaintext behind yes", "require", "S" + injected, "sent plaintext where TLS begins"},
		{"plaintext behind a preferred yes", "prefer", "S" + injected, "sent plaintext where TLS begins"},
		{"plaintext behind no", "prefer", "N" + injected, "sent plaintext where TLS begins"},
		{"an error", "require", injected, "neither yes nor no"},
		{"garbage in place of TLS", "require", "S", "did not come about"},
		{"garbage in place of preferred TLS", "prefer", "S", "did not come about"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			heard := make(chan string, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				request := make([]byte, 8)
				io.ReadFull(conn, request)
				io.WriteString(conn, tt.answer)
				first := make([]byte, 5)
				io.ReadFull(conn, first)
				io.WriteString(conn, injected)
				rest, _ := io.ReadAll(conn)
				heard <- string(first) + string(rest)
			}()
			agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Config: fmt.Sprintf(
				"targets: [{name: orders, address: %q, protocol: postgres, default: allow, tls: {server: %s}}]\n", l.Addr(), tt.mode)})
			_, port, _ := net.SplitHostPort(l.Addr().String())
			cmd := exec.Command("psql", "-XqAt", "host=127.0.0.1 port="+port+" user=secret-user dbname=orders", "-c", "select 1")
			out, err := agentd.Captured(t, cmd).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) || strings.Contains(string(out), "injected") {
				t.Errorf("psql printed %q, %v; want %q in it, and nothing that was injected", out, err, tt.want)
			}
			if got := <-heard; strings.Contains(got, "secret-user") {
				t.Errorf("whoever is in between read %q", got)
			}
		})
	}
}

// A login that is bound to the server's certificate cannot be passed on.
func TestALoginWithSCRAMIsPassedOnWhereThatCanBe(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	server := lab.Postgres(t, lab.ListenOn("127.0.8.1", "127.0.8.2", "127.0.8.3", "127.0.8.4", "127.0.8.5"),
		lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal"}), "")) // scram-sha-256
	s := newSecured(t, ca, nil, []tlsPlace{
		{"127.0.8.1", server, "{client: offer, server: require}"},
		{"127.0.8.2", server, "{client: offer, server: disable}"},
		{"127.0.8.3", server, "{client: off, server: require}"},
		{"127.0.8.4", server, "{client: offer, server: require}, credential: own"},
		{"127.0.8.5", server, "{client: off, server: disable}, credential: own"},
	})
	s.attempts(t, []login{
		{"127.0.8.1", "sslmode=disable", "plain/tls"},
		{"127.0.8.1", "sslmode=require channel_binding=disable", "tls/tls"},
		{"127.0.8.1", "sslmode=require", "Let agentd log in with a `credential` of the target"},
		{"127.0.8.1", "sslmode=require channel_binding=require", "channel binding"}, // libpq's own words
		{"127.0.8.2", "sslmode=require", "tls/plain"},
		{"127.0.8.2", "sslmode=disable", "plain/plain"},
		{"127.0.8.3", "sslmode=prefer", "plain/tls"},
		{"127.0.8.4", "sslmode=require", "tls/tls"}, // agentd binds its own login
		{"127.0.8.4", "sslmode=disable", "plain/tls"},
		{"127.0.8.5", "sslmode=disable", "plain/plain"},
	})
}

// A client that was told no does not say why it leaves; the record does.
func TestTheRecordSaysWhatAClientMissed(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server})
	cmd := psql(server, "select 1;")
	cmd.Env = append(cmd.Env, "PGSSLMODE=require")
	if out, err := agentd.Captured(t, cmd).CombinedOutput(); err == nil {
		t.Errorf("sslmode=require came through: %s", out)
	}
	list, err := agentd.Ctl(t, "sessions", "list", "-o", "json")
	if want := "client closed: it asked for TLS, which the target does not offer: set `client: offer` under its `tls`"; err != nil || !strings.Contains(list, want) {
		t.Errorf("the record says %s, %v; want %q", list, err, want)
	}
}

// A query is cancelled on a connection of its own, in plaintext where libpq has
// no other way, or over TLS.
func TestCancellingWorksOverTLS(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	server := lab.Postgres(t, lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal"}), ""), lab.Access("hostssl all all all trust"))
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server, TLS: "{client: require, server: require}"})
	cmd := exec.Command("/usr/bin/python3", "-c", cancelling)
	cmd.Env = append(os.Environ(), fmt.Sprintf("DSN=host=%s port=%d user=agent dbname=orders sslmode=require", server.Addr.Addr(), server.Addr.Port()))
	cmd = agentd.Captured(t, cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	for _, want := range []string{"libpq: QueryCanceled\n", "over TLS: QueryCanceled\n"} {
		if got, err := lines.ReadString('\n'); got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// cancelling cancels a query twice: as libpq does, and over TLS.
const cancelling = `
import os, psycopg2, socket, ssl, struct, threading, select
dsn = os.environ["DSN"]
place = dict(p.split("=") for p in dsn.split())

def over_tls(backend, key):
    raw = socket.create_connection((place["host"], int(place["port"])))
    raw.sendall(struct.pack("!II", 8, 80877103))
    assert raw.recv(1) == b"S"
    context = ssl._create_unverified_context()
    tls = context.wrap_socket(raw)
    tls.sendall(struct.pack("!IIII", 16, 80877102, backend, key))
    try:
        tls.recv(1)
    except OSError:
        pass

def attempt(name, cancel):
    c = psycopg2.connect(dsn, async_=False)
    cur = c.cursor()
    asking = psycopg2.connect(dsn)
    asking.autocommit = True
    watch = asking.cursor()
    def later():
        while True: # until it runs
            watch.execute("select count(*) from pg_stat_activity where pid = %s and query like 'select pg_sleep%%' and state = 'active'", (c.info.backend_pid,))
            if watch.fetchone()[0]: break
        cancel(c)
    thread = threading.Thread(target=later)
    thread.start()
    try:
        cur.execute("select pg_sleep(60)")
        print(name + ": it was not cancelled", flush=True)
    except psycopg2.Error as e:
        print(name + ": " + type(e).__name__, flush=True)
    thread.join()
    asking.close(); c.close()

attempt("libpq", lambda c: c.cancel())

import ctypes
def by_tls(c):
    # PQgetCancel's key is not shown to programs: it is the server's second int of PGcancel.
    lib = ctypes.CDLL("libpq.so.5")
    lib.PQgetCancel.restype = ctypes.c_void_p
    lib.PQgetCancel.argtypes = [ctypes.c_void_p]
    cancel = lib.PQgetCancel(c.pgconn_ptr)
    raw = ctypes.string_at(cancel, 256)
    pid = struct.pack("=I", c.info.backend_pid)
    at = raw.index(pid, 128)
    key = struct.unpack("=I", raw[at+4:at+8])[0]
    over_tls(c.info.backend_pid, key)

attempt("over TLS", by_tls)
`
