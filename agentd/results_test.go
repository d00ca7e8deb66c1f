package agentd_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// executes are Bind to the unnamed portal, with results in a format, and Execute.
func executes(statement string, format, rows byte) []byte {
	return slices.Concat(frontend('B', "\x00"+statement+"\x00\x00\x00\x00\x00\x00\x01\x00"+string(format)), frontend('E', "\x00\x00\x00\x00"+string(rows)))
}

func prepares(name, text string) []byte {
	return slices.Concat(frontend('P', name+"\x00"+text+"\x00\x00\x00"), frontend('D', "S"+name+"\x00"))
}

func asks(text string) []byte { return frontend('Q', text+"\x00") }

func TestTheRecordHasTheRowsThatTheClientSaw(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers+"alter role agent superuser;")
	a := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server, Config: "record: {results: 64KiB}\n"})
	const sorted = "select id, name, email from customers order by id"
	session := dialogue.Session{User: server.User, Turns: [][]byte{
		asks(sorted),
		asks("select 1 as a; select where false; select 'x' as b, null as c"),
		asks("copy customers to stdout"),
		asks("copy (select 1, 'a,b', null) to stdout csv header"),
		asks("begin; declare c cursor for " + sorted + "; fetch 2 from c; fetch all from c; commit"),
		slices.Concat(prepares("s", sorted), executes("s", 1, 2), frontend('E', "\x00\x00\x00\x00\x00"), frontend('S', "")),
		slices.Concat(executes("s", 1, 0), frontend('S', "")),
		asks("select 1/0"),
		asks("select rolpassword as p, rolname from pg_authid where rolname = 'agent'"),
		asks("select passwd from pg_shadow where usename = 'agent'"),
		asks("select left(rolpassword, 60), length(rolpassword) > 60 from pg_authid where rolname = 'agent'"),
		asks("select 'md5' || md5('x'), 'md5' || md5('x') || '0'"),
		asks("copy pg_authid (rolpassword) to stdout (format binary)"),
		asks("truncate customers"),
	}}
	heard := hear(t, server, []string{server.Database}, []dialogue.Session{session}, func(cmd *exec.Cmd) *exec.Cmd { return a.Captured(t, cmd) })
	if heard[0].End != "" {
		t.Fatalf("the session ended: %s", heard[0].End)
	}
	script := transcriptOf(t, a)
	var got strings.Builder
	for _, e := range script.Entries {
		if e.Kind == "request" {
			got.WriteString("-- " + strings.ToUpper(e.Text.Text[:6]) + "\n" + digit35.ReplaceAllString(shownRows(e), "md5(32)0"))
		}
	}
	const masked = "(1)(Ada)([masked]) (2)(Grace)(NULL) (3)(Edsger)([masked])"
	want := strings.Join([]string{
		"-- SELECT", "0 [id name email] " + masked + " ",
		"-- SELECT", "0 [a] (1) ", "2 [b c] (x)(NULL) ",
		"-- COPY C", "0 [] (1\tAda\t[masked]) (2\tGrace\t\\N) (3\tEdsger\t[masked]) ",
		"-- COPY (", `0 [] (?column?,?column?,?column?) (1,"a,b",) `,
		"-- BEGIN;", "0 [id name email] (1)(Ada)([masked]) (2)(Grace)(NULL) ", "1 [id name email] (3)(Edsger)([masked]) ",
		"-- SELECT", "0 [id name email] (1)(Ada)([masked]) (2)(Grace)(NULL) ",
		"-- SELECT", "0 [id name email] (3)(Edsger)([masked]) ",
		"-- SELECT", "0 [id name email] " + masked + " ",
		"-- SELECT",
		"-- SELECT", "0 [p rolname] ([withheld])(agent) ",
		"-- SELECT", "0 [passwd] ([withheld]) ",
		"-- SELECT", "0 [left ?column?] ([withheld])(t) ",
		"-- SELECT", "0 [?column? ?column?] ([withheld])(md5(32)0) ",
		"-- COPY P", "0 [] ([withheld])",
	}, "\n")
	if !strings.HasPrefix(got.String(), want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	secretFree(t, a, "ada@example.com", "ewd@example.com", "SCRAM-SHA-256$", fmt.Sprintf("%x", "SCRAM-SHA-256$"))
	if s := script.Summary; s.Scope != "plaintext" || s.Results != 64<<10 || !slices.Contains(s.NotCaptured, "values of parameters") || slices.Contains(s.NotCaptured, "results") {
		t.Errorf("got scope %q, results %d, not captured %q", s.Scope, s.Results, s.NotCaptured)
	}
}

// digit35 is one more digit than what is kept of a password has.
var digit35 = regexp.MustCompile(`md5[0-9a-f]{32}0`)

// secretFree fails the test if a file of the record has one of the texts.
func secretFree(t *testing.T, a *lab.Agentd, texts ...string) {
	t.Helper()
	files, err := filepath.Glob(a.Log + "/*")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "there is no record")
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if at := bytes.Index(data, []byte(text)); at >= 0 {
				t.Errorf("%s has %q: …%s…", f, text, data[max(0, at-200):min(len(data), at+200)])
			}
		}
	}
}

// Results are not recorded unless the configuration says so, of a target or of
// all, and what is said of a target goes first.
func TestResultsAreRecordedWhereTheConfigurationSaysSo(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	for _, tt := range []struct {
		name, target, config string
		limit                int
	}{
		{"nothing is said", "{}", "", 0},
		{"of all", "{}", "record: {results: 2KiB}\n", 2048},
		{"off for one", "{}, results: off", "record: {results: 2KiB}\n", 0},
		{"on for one", "{}, results: 1KiB", "", 1024},
	} {
		a := lab.StartAgentd(t, lab.Setup{Target: server, TLS: tt.target, Config: tt.config})
		output(t, a.Captured(t, psql(server, "select 'seen';")))
		a.Process.Stop(syscall.SIGTERM)
		script := transcriptOf(t, a)
		var rows []*recorder.Rows
		for _, e := range script.Entries {
			rows = append(rows, e.Rows...)
		}
		if script.Results != tt.limit || (len(rows) > 0) != (tt.limit > 0) || slices.Contains(script.NotCaptured, "results") != (tt.limit == 0) {
			t.Errorf("%s: got a limit of %d, %d results, not captured %q; want a limit of %d", tt.name, script.Results, len(rows), script.NotCaptured, tt.limit)
		}
	}
}

// Of results that are long, of many rows or of one, the record has what the
// limit allows, and agentd no more in memory.
func TestLongResultsAreCutInTheRecord(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.Setting("log_statement=none"))
	a := lab.StartAgentd(t, lab.Setup{Target: server, Config: "record: {results: 16KiB}\n"})
	before := peak(t, a)
	const rows, limit = 1_000_000, 16 << 10
	long := "select 'ö' || repeat('y', 30000000), 1"
	out := output(t, a.Captured(t, psql(server, `\o /dev/null`,
		fmt.Sprintf("select g, repeat('x', 100) from generate_series(1, %d) g;", rows), long+";",
		fmt.Sprintf("copy (select g from generate_series(1, %d) g) to stdout;", rows),
		"select repeat('z', 10000) from generate_series(1, 3);")))
	if out != "" {
		t.Fatalf("got %q", out[:min(len(out), 300)])
	}
	after := peak(t, a)
	a.Process.Stop(syscall.SIGTERM)
	t.Logf("agentd had at most %d MiB before and %d after", before>>20, after>>20)
	if after > before+150<<20 {
		t.Errorf("agentd had at most %d MiB before and %d after", before>>20, after>>20)
	}
	var cuts []string
	for _, e := range transcriptOf(t, a).Entries {
		if e.Kind != "request" {
			continue
		}
		size, n := 0, 0
		for _, r := range e.Rows {
			for _, row := range r.Rows {
				n++
				for _, v := range row {
					size += len(*v)
				}
			}
		}
		cut := e.Rows[len(e.Rows)-1].Cut
		cuts = append(cuts, fmt.Sprintf("%d rows of %d, %s", n, e.Done.Rows, cut))
		if size > limit || size < limit/4 {
			t.Errorf("%s: got %d bytes of values, want no more than %d and not much less", e.Text.Text, size, limit)
		}
	}
	want := []string{"145 rows of 1000000, limit", "1 rows of 1, value", "1749 rows of 1000000, limit", "1 rows of 3, limit"}
	if !slices.Equal(cuts, want) {
		t.Errorf("got %q, want %q", cuts, want)
	}
}

// peak is how much memory agentd has had at most.
func peak(t *testing.T, a *lab.Agentd) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.Process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no peak in %s", status)
	}
	kB, _ := strconv.Atoi(string(m[1]))
	return kB << 10
}
