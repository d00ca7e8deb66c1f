package sinks_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/sinks"
	"agentd.dev/policy"
)

// A syslogd reads RFC 5424 over TLS, as strictly as it is written.
type syslogd struct {
	net.Listener
	cert *httptest.Server // whose certificate it shows

	mu   sync.Mutex
	seen []message
	bad  []string
}

type message struct {
	priority int
	kind     string
	params   map[string]string
	text     string
	size     int
}

func newSyslogd(t *testing.T) *syslogd {
	cert := httptest.NewTLSServer(nil)
	t.Cleanup(cert.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: cert.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	s := &syslogd{Listener: l, cert: cert}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				if err := s.read(bufio.NewReader(conn)); err != nil {
					s.mu.Lock()
					s.bad = append(s.bad, err.Error())
					s.mu.Unlock()
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return s
}

// syntax is that of RFC 5424, 6, with structured data of one element.
var (
	syntax = regexp.MustCompile(`(?s)^<([0-9]|[1-9][0-9]|1[0-8][0-9]|19[01])>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) \[(\S+@\S+)((?: [!-<>-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\] ` + "\xEF\xBB\xBF(.*)$")
	param  = regexp.MustCompile(` ([^ =]+)="((?:[^"\\\]]|\\["\\\]])*)"`)
)

func (s *syslogd) read(r *bufio.Reader) error {
	for {
		digits, err := r.ReadString(' ')
		if err == io.EOF && digits == "" {
			return nil
		}
		n, e := strconv.Atoi(strings.TrimSuffix(digits, " "))
		if err != nil || e != nil || digits[0] == '0' {
			return fmt.Errorf("%q where a length should be: %v", digits, err)
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(r, text); err != nil {
			return err
		}
		m := syntax.FindSubmatch(text)
		if m == nil {
			return fmt.Errorf("not RFC 5424: %q", text)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", string(m[2])); err != nil {
			return err
		}
		got := message{kind: string(m[6]), params: map[string]string{}, text: string(m[9]), size: n}
		got.priority, _ = strconv.Atoi(string(m[1]))
		for _, p := range param.FindAllStringSubmatch(string(m[8]), -1) {
			got.params[p[1]] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\]`, `]`).Replace(p[2])
		}
		s.mu.Lock()
		s.seen = append(s.seen, got)
		s.mu.Unlock()
	}
}

func (s *syslogd) sink() sinks.Config {
	return sinks.Config{Name: "siem", FromStart: true, Syslog: &sinks.Syslog{
		Address: s.Addr().String(), Facility: 13, ID: "agentd@32473", Max: 2 << 10, TLS: sinks.TLS{Roots: roots{s.cert}},
	}}
}

func TestSyslogIsWhatTheRFCsSay(t *testing.T) {
	l, d := newLog(t), newSyslogd(t)
	long := "select 'é' -- " + strings.Repeat("ü\n", 4<<10)
	l.statement(t, long, policy.Verdict{Outcome: policy.Refuse, Rule: `a "rule" \ of [many]`})
	s := l.start(t, d.sink())
	await(t, "six messages", func() bool { return s.States()["siem"].Delivered == 6 })
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.bad) > 0 || len(d.seen) != 6 {
		t.Fatalf("got %d messages and %q, want 6", len(d.seen), d.bad)
	}
	got := d.seen[3]
	if got.priority != 13*8+4 || got.kind != "request" || got.params["rule"] != `a "rule" \ of [many]` || got.params["workload"] != "reporter" || got.params["index"] != "3" {
		t.Errorf("got %d %s %q, want a warning of audit, of the request, with its parameters", got.priority, got.kind, got.params)
	}
	if got.size > 2<<10 || got.params["cut"] == "" || !strings.Contains(got.text, "select 'é' -- ü") {
		t.Errorf("got %d bytes, cut %q, want at most 2 KiB with the front of the statement, and said that it was cut", got.size, got.params["cut"])
	}
}

func TestSyslogThatDoesNotReadIsSentAllAgain(t *testing.T) {
	l, d := newLog(t), newSyslogd(t)
	deaf, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: d.cert.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	l.notes(t, 10)
	told := make(chan struct{})
	go func() { // takes the bytes, and dies before it has done anything with them
		if conn, err := deaf.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 1))
			conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			conn.(*tls.Conn).NetConn().Close()
			close(told)
		}
	}()
	c := d.sink()
	c.Syslog.Address = deaf.Addr().String()
	s := l.start(t, c)
	<-told
	await(t, "a problem", func() bool { return s.States()["siem"].Problem != "" })
	deaf.Close()
	s.Use([]sinks.Config{d.sink()})
	await(t, "all messages", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.seen) == 11 })
}
