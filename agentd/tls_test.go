package agentd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// A secured is a lab for TLS: one daemon, and servers at addresses of their own,
// each a target.
type secured struct {
	*lab.Agentd
	ca     *lab.Authority // of the servers
	others *lab.Authority // that nobody trusts
	root   string         // file of the CA that agentd's clients trust
	ports  map[string]string
}

// sessionTLS asks the server what it knows of TLS, and psql.
const sessionTLS = `select case when ssl then 'tls' else 'plain' end from pg_stat_ssl where pid = pg_backend_pid()`

// A place is a target at an address of a server.
type tlsPlace struct {
	address string
	server  *lab.Server
	tls     string // of the target
}

func newSecured(t *testing.T, ca, others *lab.Authority, places []tlsPlace) *secured {
	t.Helper()
	var config strings.Builder
	config.WriteString("targets:\n")
	s := &secured{ca: ca, others: others, ports: map[string]string{}}
	for i, p := range places {
		fmt.Fprintf(&config, "  - {name: t%d, address: \"%s:%d\", protocol: postgres, default: allow, unclassified: allow, tls: %s}\n", i, p.address, p.server.Addr.Port(), p.tls)
		s.ports[p.address] = fmt.Sprint(p.server.Addr.Port())
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("lab-password"), 0o600); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&config, "credentials: [{name: own, user: agent, password: {file: %s}}]\n", password)
	s.Agentd = lab.StartAgentd(t, lab.Setup{Policy: judged, Config: config.String()})
	s.root = filepath.Join(t.TempDir(), "agentd.crt")
	if _, err := s.Ctl(t, "ca", "export", "--out", s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

// A login is one run of psql.
type login struct {
	address string
	params  string // of the connection
	want    string // what the last line begins with, or what is in it for an error
}

// attempts runs psql for each, in one captured shell, and compares the outcome:
// "client/server" with plain or tls for each, or the error.
func (s *secured) attempts(t *testing.T, list []login) {
	t.Helper()
	var script strings.Builder
	for i, a := range list {
		fmt.Fprintf(&script, `echo "@%d"; psql -XqAt "host=orders.internal hostaddr=%s port=%s user=agent dbname=orders %s" -c '\conninfo' -c "%s" 2>&1 </dev/null`+"\n",
			i, a.address, s.ports[a.address], a.params, sessionTLS)
	}
	cmd := exec.Command("/bin/sh", "-c", script.String())
	cmd.Env = append(os.Environ(), "PGPASSWORD=lab-password", "LC_ALL=C.UTF-8", "PGSSLROOTCERT="+s.root, "PGCONNECT_TIMEOUT=30")
	out, _ := s.Captured(t, cmd).CombinedOutput() // the last psql may well fail
	answers := strings.Split(string(out), "@")[1:]
	if len(answers) != len(list) {
		t.Fatalf("%d answers to %d attempts:\n%s", len(answers), len(list), out)
	}
	for i, a := range list {
		_, got, _ := strings.Cut(answers[i], "\n")
		if outcome := tlsOutcome(got); outcome != a.want && (strings.HasPrefix(outcome, "plain") || strings.HasPrefix(outcome, "tls") || !strings.Contains(got, a.want)) {
			t.Errorf("%s %s: got %q, want %q", a.address, a.params, got, a.want)
		}
	}
}

// tlsOutcome is what psql says of both legs, or its error.
func tlsOutcome(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if last != "plain" && last != "tls" {
		return out
	}
	if strings.Contains(out, "SSL connection (protocol: TLSv1.3") {
		return "tls/" + last
	}
	return "plain/" + last
}

func TestEachLegHasTheTLSThatItsSidesAskFor(t *testing.T) {
	t.Parallel()
	ca, others := lab.NewAuthority(t), lab.NewAuthority(t)
	serverModes := []struct{ tls, with, without string }{ // at a server with TLS, and without: what pg_stat_ssl says, or the error
		{"server: disable", "plain", "plain"},
		{"server: prefer", "tls", "plain"},
		{"server: require", "tls", "The server has no TLS, and agentd goes to it over TLS only (tls.server is require)"},
		{"server: verify-ca, ca: " + ca.File, "tls", "The server has no TLS, and agentd goes to it over TLS only (tls.server is verify-ca)"},
		{"server: verify-full, name: orders.internal, ca: " + ca.File, "tls", "The server has no TLS, and agentd goes to it over TLS only (tls.server is verify-full)"},
	}
	clientModes := []struct {
		tls string
		of  map[string]string // by sslmode: what psql says, or the error
	}{
		{"client: off", map[string]string{
			"disable": "plain", "allow": "plain", "prefer": "plain",
			"require":     "server does not support SSL, but SSL was required",
			"verify-ca":   "server does not support SSL, but SSL was required",
			"verify-full": "server does not support SSL, but SSL was required",
		}},
		{"client: offer", map[string]string{
			"disable": "plain", "allow": "plain", "prefer": "tls", "require": "tls", "verify-ca": "tls", "verify-full": "tls",
		}},
		{"client: require", map[string]string{
			"disable": "is reached over TLS only. (agentd, rule tls)",
			"allow":   "tls", // after it was refused
			"prefer":  "tls", "require": "tls", "verify-ca": "tls", "verify-full": "tls",
		}},
	}
	var addresses []string
	for i := range len(serverModes) * len(clientModes) {
		addresses = append(addresses, fmt.Sprintf("127.0.6.%d", i+1))
	}
	with := lab.Postgres(t, lab.ListenOn(addresses...), lab.Access("host all all all trust"),
		lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal"}), ""))
	without := lab.Postgres(t, lab.ListenOn(addresses...), lab.Access("host all all all trust"))
	for _, server := range []*lab.Server{with, without} {
		var places []tlsPlace
		var list []login
		for _, c := range clientModes {
			for _, s := range serverModes {
				p := tlsPlace{addresses[len(places)], server, "{" + c.tls + ", " + s.tls + "}"}
				places = append(places, p)
				behind := s.with
				if server == without {
					behind = s.without
				}
				for mode, want := range c.of {
					if want == "plain" || want == "tls" {
						if want += "/" + behind; behind != "plain" && behind != "tls" {
							want = behind
						}
					}
					list = append(list, login{p.address, "sslmode=" + mode, want})
				}
			}
		}
		slices.SortFunc(list, func(a, b login) int { return strings.Compare(a.address+a.params, b.address+b.params) })
		s := newSecured(t, ca, others, places)
		s.attempts(t, list)
		if out, err := s.Ctl(t, "audit", "verify"); err != nil {
			t.Errorf("audit verify: %v\n%s", err, out)
		}
	}
}
