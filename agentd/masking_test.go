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
	"github.com/jackc/pgx/v5/pgproto3"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
)

// A way is a try to get at protected values.
type way struct {
	group, name string
	// text is what the agent says, one statement a line. In an oracle,
	// {{right|wrong}} stands for a right guess and a wrong one, and the way is
	// open if the answers to the two differ.
	text string
	// over says in which protocols the way makes sense, as "s", "tb"; "" for all.
	over string
	// alone: what it changes outlives it, so it has a database of its own.
	// undone: it is wrapped in a transaction that is rolled back.
	alone, undone bool
	chief         bool // tried by a superuser
	slow          bool // an oracle by how long an answer takes
	// tells: what the client is shown is not the value but says something of
	// it. The way is open if it gets a row that it gets without agentd, too.
	tells bool
	// barred says why the way leads nowhere without agentd either.
	barred string
	// untried says why the way is not tried without agentd.
	untried string
	// say makes the turns in place of text.
	say func(p protocol) [][]byte
	// startup are parameters of the login.
	startup map[string]string
}

// ways are all of them, in the order of the document.
var ways = joined(
	waysOfReading,
	waysOfShaping,
	waysOfCode,
	waysOfMoving,
	waysOfTelling,
	waysOfSpeaking,
	waysFromBefore,
)

func joined(themes ...[]way) []way {
	var all []way
	for _, theme := range themes {
		all = append(all, theme...)
	}
	return all
}

// chosen are the ways of which group and name match $WAYS, for whoever works on
// some of them; all if it is empty.
func chosen() []*way {
	match := regexp.MustCompile(os.Getenv("WAYS"))
	var out []*way
	for i := range ways {
		if w := &ways[i]; match.MatchString(w.group + ", " + w.name) {
			out = append(out, w)
		}
	}
	return out
}

// A protocol is how a statement goes to the server.
type protocol struct {
	name   string
	letter string
	format int16
}

var protocols = []protocol{{"simple", "s", 0}, {"extended text", "t", 0}, {"extended binary", "b", 1}}

func (w *way) goes(p protocol) bool { return w.over == "" || strings.Contains(w.over, p.letter) }

var guess = regexp.MustCompile(`\{\{(.*?)\|(.*?)\}\}`)

func (w *way) oracle() bool { return guess.MatchString(w.text) }

// turns are the messages of the way, with the right guess or the wrong one.
func (w *way) turns(p protocol, right bool, places *strings.Replacer) [][]byte {
	if w.say != nil {
		return w.say(p)
	}
	text := strings.TrimSpace(w.text)
	if right {
		text = guess.ReplaceAllString(text, "$1")
	} else {
		text = guess.ReplaceAllString(text, "$2")
	}
	text = places.Replace(text)
	var out [][]byte
	if w.undone {
		out = append(out, encoded(&pgproto3.Query{String: "begin"}))
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, p.statement(line))
		}
	}
	if w.undone {
		out = append(out, encoded(&pgproto3.Query{String: "rollback"}))
	}
	return out
}

// statement runs one statement.
func (p protocol) statement(text string) []byte {
	if p.letter == "s" {
		return encoded(&pgproto3.Query{String: text})
	}
	return encoded(
		&pgproto3.Parse{Query: text},
		&pgproto3.Bind{ResultFormatCodes: []int16{p.format}},
		&pgproto3.Describe{ObjectType: 'P'},
		&pgproto3.Execute{},
		&pgproto3.Sync{},
	)
}

func encoded(messages ...pgproto3.FrontendMessage) []byte {
	var out []byte
	for _, m := range messages {
		var err error
		if out, err = m.Encode(out); err != nil {
			panic(err)
		}
	}
	return out
}

// A trial is one session of a way.
type trial struct {
	way      *way
	protocol protocol
	direct   bool // without agentd
	right    bool
	database string // its own, "" for any
	places   *strings.Replacer
	heard    dialogue.Heard
}

func (tr *trial) turns() [][]byte { return tr.way.turns(tr.protocol, tr.right, tr.places) }

func TestEveryWayToAMaskedColumn(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.Setting("log_statement=none"), lab.Setting("wal_level=logical"), lab.Setting("max_prepared_transactions=5"))
	server.SQL(t, protected)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: protecting, Target: server, Config: "limits: {statement: 256KiB}\n"})
	makeDatabases(t, server, []string{"far"})
	gossip(t, server)
	judge := newJudge(secrets)
	var direct, captured []*trial
	// FOLDER is one that the server can write to, OVERFLOW is where it keeps
	// long values.
	places := strings.NewReplacer("FOLDER", server.Socket,
		"OVERFLOW", server.SQL(t, "select reltoastrelid::regclass from pg_class where oid = 'letters_kept'::regclass"))
	tried := chosen()
	for _, w := range tried {
		first := true
		for _, p := range protocols {
			if !w.goes(p) {
				continue
			}
			for _, right := range []bool{true, false} {
				if !right && !w.oracle() {
					continue
				}
				captured = append(captured, &trial{way: w, protocol: p, right: right, places: places})
				if first && w.untried == "" {
					direct = append(direct, &trial{way: w, protocol: p, right: right, places: places, direct: true})
				}
			}
			first = false
		}
	}
	hold(t, server, "d", direct, func(cmd *exec.Cmd) *exec.Cmd { return cmd })
	hold(t, server, "c", captured, func(cmd *exec.Cmd) *exec.Cmd { return agentd.Captured(t, cmd) })
	began := time.Now()
	found := findings(t, judge, tried, direct, captured)
	t.Logf("judged in %.1f s", time.Since(began).Seconds())
	if len(tried) == len(ways) {
		compareDocument(t, found)
	}
}

const (
	lanes  = 4
	shared = 12 // ways that only read go into one session, up to so many
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
	}
	var sessions [][]*trial
	open := map[kind]int{}
	for _, tr := range trials {
		k := kind{tr.protocol.name, tr.right}
		at, ok := open[k]
		switch {
		case !tr.way.reads():
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

// reads reports whether a way is one statement that leaves nothing behind in
// its session.
func (w *way) reads() bool {
	return !w.alone && !w.undone && !w.chief && !w.slow && w.say == nil && w.startup == nil &&
		reading.MatchString(w.text) && !lasting.MatchString(w.text) && strings.Count(strings.TrimSpace(w.text), "\n") == 0
}

var (
	reading = regexp.MustCompile(`(?i)^(select|table|values|with)\b`)
	lasting = regexp.MustCompile(`(?i);|set_config|setseed|advisory|connect|keep|_slot|notify|for update`)
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
	text, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lab.Binary(t, "./agentd/internal/dialogue/client"), free...)
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
	var left []*trial
	for i, trials := range sessions {
		left = append(left, deal(trials, heard[i])...)
	}
	return left
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
		fmt.Fprintf(&text, "create database %s template %s owner %s;\n", name, server.Database, server.User)
	}
	cmd := exec.Command("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", server.Socket, "-p", portOf(server), "-U", "postgres", "-d", "postgres")
	cmd.Stdin = strings.NewReader(text.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make databases: %v\n%s", err, out)
	}
}

// findings says for each way and protocol what came of it, and fails the test
// where that is not as it should be.
func findings(t *testing.T, j *judge, ways []*way, direct, captured []*trial) map[*way]map[string]string {
	t.Helper()
	out := map[*way]map[string]string{}
	for _, w := range ways {
		if w.untried == "" {
			found, how := w.opens(j, pick(direct, w, ""), pick(direct, w, ""))
			switch {
			case !found && w.barred == "":
				t.Errorf("%s, %s: shows nothing without agentd either: the way is broken\n%s", w.group, w.name, transcript(pick(direct, w, "")))
			case found && w.barred != "":
				t.Errorf("%s, %s: is open without agentd (%s), though %s", w.group, w.name, how, w.barred)
			}
		}
		out[w] = map[string]string{}
		opened := false
		for _, p := range protocols {
			if !w.goes(p) {
				continue
			}
			trials := pick(captured, w, p.name)
			found, how := w.opens(j, trials, pick(direct, w, ""))
			if found {
				opened = true
				out[w][p.name] = "**open**"
				if why := w.open(); why != "" {
					out[w][p.name] += ": " + why
				} else {
					t.Errorf("%s, %s, %s: open, %s\n%s", w.group, w.name, p.name, how, transcript(trials))
				}
				continue
			}
			out[w][p.name] = outcome(j.read(&trials[0].heard))
			if out[w][p.name] == "error" {
				t.Logf("%s, %s, %s: error\n%s", w.group, w.name, p.name, transcript(trials))
			}
		}
		if why := w.open(); why != "" && !opened {
			t.Errorf("%s, %s: is not open any more, though the table says %q", w.group, w.name, why)
		}
	}
	return out
}

func pick(trials []*trial, w *way, protocol string) []*trial {
	var out []*trial
	for _, tr := range trials {
		if tr.way == w && (protocol == "" || tr.protocol.name == protocol) {
			out = append(out, tr)
		}
	}
	return out
}
