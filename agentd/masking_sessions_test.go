package agentd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
)

const (
	lanes  = 4
	shared = 16 // ways that leave nothing behind go into one session, up to so many
)

// hold holds the sessions of trials, through wrap, in databases of which the
// names begin with prefix.
func hold(t *testing.T, server *lab.Server, prefix string, trials []*trial, wrap func(*exec.Cmd) *exec.Cmd) {
	t.Helper()
	var databases, free []string
	for i := range lanes {
		free = append(free, fmt.Sprint(prefix, "_lane", i))
	}
	databases = append(databases, free...)
	for i, tr := range trials {
		if tr.way.alone {
			tr.database = fmt.Sprint(prefix, i)
			databases = append(databases, tr.database)
		}
	}
	began := time.Now()
	makeDatabases(t, server, databases)
	made := time.Now()
	sessions := share(trials)
	left := holdSessions(t, server, sessions, free, wrap)
	// Those that came behind one that ended their session have one each.
	var again [][]*trial
	for _, tr := range left {
		again = append(again, []*trial{tr})
	}
	holdSessions(t, server, again, free, wrap)
	t.Logf("%d trials in %d sessions in %.1f s, %d databases in %.1f s", len(trials), len(sessions)+len(again),
		time.Since(made).Seconds(), len(databases), made.Sub(began).Seconds())
}

// share puts trials that leave nothing behind in one session.
func share(trials []*trial) [][]*trial {
	type kind struct {
		protocol string
		right    bool
		undone   bool
	}
	var sessions [][]*trial
	open := map[kind]int{}
	for _, tr := range trials {
		k := kind{tr.protocol.name, tr.right, tr.way.undone}
		at, ok := open[k]
		switch {
		case !tr.way.shares():
			sessions = append(sessions, []*trial{tr})
		case ok && len(sessions[at]) < shared:
			sessions[at] = append(sessions[at], tr)
		default:
			open[k] = len(sessions)
			sessions = append(sessions, []*trial{tr})
		}
	}
	return sessions
}

// shares reports whether a way leaves nothing behind in its session: it is one
// statement that reads, or is undone.
func (w *way) shares() bool {
	if w.alone || w.chief || w.slow || w.say != nil || w.startup != nil || lasting.MatchString(w.text) {
		return false
	}
	return w.undone || reading.MatchString(w.text) && !strings.Contains(w.text, ";") && strings.Count(strings.TrimSpace(w.text), "\n") == 0
}

var (
	reading = regexp.MustCompile(`(?i)^(select|table|values|with|copy .* to stdout|explain)\b`)
	lasting = regexp.MustCompile(`(?im)setseed|advisory|connect|_slot|lo_|set_config|keep|pg_notify|encoding|` +
		`(^|; ?)(set|listen|prepare|execute|declare|fetch|move|do|commit|discard)\b`)
)

// holdSessions holds one session for each list of trials, and returns those trials
// that were not answered because one before them in the session ended it.
func holdSessions(t *testing.T, server *lab.Server, sessions [][]*trial, free []string, wrap func(*exec.Cmd) *exec.Cmd) []*trial {
	t.Helper()
	asked := make([]dialogue.Session, len(sessions))
	for i, trials := range sessions {
		w := trials[0].way
		asked[i] = dialogue.Session{User: server.User, Database: trials[0].database, Parameters: w.startup}
		if w.chief {
			asked[i].User = "chief"
		}
		for _, tr := range trials {
			asked[i].Turns = append(asked[i].Turns, tr.turns()...)
		}
	}
	heard := hear(t, server, free, asked, wrap)
	var left []*trial
	for i, trials := range sessions {
		left = append(left, deal(trials, heard[i])...)
	}
	return left
}

// hear holds sessions through wrap, as many at a time as there are
// databases, and returns what was heard in each.
func hear(t *testing.T, server *lab.Server, databases []string, sessions []dialogue.Session, wrap func(*exec.Cmd) *exec.Cmd) []dialogue.Heard {
	t.Helper()
	text, err := json.Marshal(sessions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lab.Binary(t, "./agentd/internal/dialogue/client"), databases...)
	cmd.Env = append(os.Environ(), "PGHOST="+server.Addr.Addr().String(), "PGPORT="+portOf(server),
		"PGPASSWORD="+server.Password, "PGSSLMODE=disable")
	cmd.Stdin = bytes.NewReader(text)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := wrap(cmd).Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.String())
	}
	var heard []dialogue.Heard
	if err := json.Unmarshal(out, &heard); err != nil || len(heard) != len(sessions) {
		t.Fatalf("%d sessions heard (%v), want %d", len(heard), err, len(sessions))
	}
	for i, h := range heard {
		if strings.Contains(h.End, os.ErrDeadlineExceeded.Error()) {
			t.Errorf("a session was left without an answer, after %d: %q", len(h.Answers), sessions[i].Turns)
		}
	}
	return heard
}

// deal gives each trial of a session its answers, and returns those that got
// none for a reason that is another's.
func deal(trials []*trial, heard dialogue.Heard) []*trial {
	for i, tr := range trials {
		n := len(tr.turns())
		if len(heard.Answers) == 0 && i > 0 {
			return trials[i:]
		}
		tr.heard.Answers = heard.Answers[:min(n, len(heard.Answers))]
		heard.Answers = heard.Answers[len(tr.heard.Answers):]
		if len(heard.Answers) == 0 {
			tr.heard.End = heard.End
		}
	}
	return nil
}

// gossip holds a session of the agent's own beside agentd, which others see in
// the server's list of sessions.
func gossip(t *testing.T, server *lab.Server) {
	t.Helper()
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=far sslmode=disable",
		server.Addr.Addr(), portOf(server), server.User, server.Password))
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	if _, err := c.Exec(t.Context(), "update customers set email = 'Quxbrand.7731@Zephyr-Vault.example' where id = 1").ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// makeDatabases makes copies of the server's database.
func makeDatabases(t *testing.T, server *lab.Server, names []string) {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, "create database %s template %s owner %s strategy file_copy;\n", name, server.Database, server.User)
	}
	cmd := exec.Command("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", server.Socket, "-p", portOf(server), "-U", "postgres", "-d", "postgres")
	cmd.Stdin = strings.NewReader(text.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make databases: %v\n%s", err, out)
	}
}
