package agentd_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// anyOrderTables are what talkers talk of.
const anyOrderTables = `
create table g (n int not null);
create table late (n int unique deferrable initially deferred);
create table held (word text);
insert into held values ('never said');
alter table g owner to agent; alter table late owner to agent; alter table held owner to agent;
`

// anyOrderPolicy has rules of each kind for workloads that are called so.
const anyOrderPolicy = `
rules:
  - name: none-of-that
    on: request
    when: sql.normalized.contains("forbidden")
    do: deny
    message: Not that.
  - name: masked
    on: result
    when: workload.name == "masked"
    do: mask
    columns: [public.held.word]
  - name: limited
    on: request
    when: workload.name == "limited"
    do: limit
    affected: 1
    rows: 3
  - name: resolved
    on: request
    when: workload.name == "resolved" && sql.tables.exists(t, t == "billing.accounts")
    do: deny
    message: Not that.
`

// Whatever the order of messages is, the server's own log holds no execution
// of which the record does not say that it was let through, what its text is,
// and that it was not skipped; and all that the record says succeeded. The rows
// of the record are those that the client got.
func TestNoOrderOfMessagesRunsWhatTheRecordDoesNotHold(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.Setting("log_line_prefix=%a "))
	server.SQL(t, anyOrderTables)
	a := lab.StartAgentd(t, lab.Setup{Policy: anyOrderPolicy, Target: server, Config: "record: {results: 256KiB}\n"})
	seed, each, n := asked(t, "SEED", uint64(time.Now().UnixNano())), int(asked(t, "SESSIONS", 80)), 0
	var heard []dialogue.Heard
	for _, workload := range []string{"plain", "masked", "limited", "resolved"} {
		var sessions []dialogue.Session
		for range each {
			r := &talker{Rand: rand.New(rand.NewPCG(seed, uint64(n))), session: n, forbidden: "select %s 'forbidden', forbidden"}
			sessions = append(sessions, dialogue.Session{User: server.User, Turns: r.turns(), Until: theEnd, Parameters: map[string]string{"application_name": fmt.Sprint("g", n)}})
			n++
		}
		heard = append(heard, hear(t, server, slices.Repeat([]string{server.Database}, 6), sessions, func(cmd *exec.Cmd) *exec.Cmd { return named(t, a, workload, cmd) })...)
	}
	ran := executions(server.Log())
	folder, err := recorder.OpenFolder(a.Log)
	if err != nil {
		t.Fatal(err)
	}
	sessions := awaitEnds(t, a, n)
	ends := map[string]int{}
	for _, s := range sessions {
		script, err := folder.Session(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		i, err := strconv.Atoi(strings.TrimPrefix(s.Application, "g"))
		if err != nil {
			t.Fatal(err)
		}
		ends[s.Outcome]++
		if why := contradiction(script, ran[i]); why != "" {
			t.Errorf("workload %s, session %d of SEED=%d SESSIONS=%d: %s\nthe server ran\n%s\nthe record is\n%s",
				s.Workload, i, seed, each, why, strings.Join(ran[i], "\n"), asText(script))
		}
		if why := unlike(script, &heard[i]); why != "" {
			t.Errorf("workload %s, session %d of SEED=%d SESSIONS=%d: %s\nthe record is\n%s", s.Workload, i, seed, each, why, asText(script))
		}
	}
	if len(sessions) != n {
		t.Errorf("%d sessions are recorded, want %d", len(sessions), n)
	}
	t.Logf("SEED=%d: %d sessions, which ended so: %v", seed, n, ends)
	if ends["client closed"] < n*8/10 {
		t.Error("too few sessions came to their end for the test to mean anything")
	}
}

// asked returns the number that the environment asks for, as a test that failed says.
func asked(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var (
	ranLine = regexp.MustCompile(`(?m)^g(\d+) LOG:  (?:statement|execute [^:]*): (.*)`)
	tag     = regexp.MustCompile(`/\*(?:g\d+\.\d+|other)\*/`)
	literal = regexp.MustCompile(`\$\$.*?\$\$|'[^']*'|\b\d+\b`)
	comment = regexp.MustCompile(` ?/\*.*?\*/`)
)

// executions are the texts with a tag that the server says it ran, by session.
func executions(log string) map[int][]string {
	ran := map[int][]string{}
	for _, line := range ranLine.FindAllStringSubmatch(log, -1) {
		if i, _ := strconv.Atoi(line[1]); tag.MatchString(line[2]) {
			ran[i] = append(ran[i], line[2])
		}
	}
	return ran
}

// same reports whether a recorded text is that of an execution: by its tag, or,
// if the record holds none as it leaves out what may be secret, by its words.
func same(recorded, ran string) bool {
	if m := tag.FindString(recorded); m != "" {
		return m == tag.FindString(ran)
	}
	words := func(text string) string {
		return strings.ReplaceAll(literal.ReplaceAllString(comment.ReplaceAllString(text, ""), "?"), " ", "")
	}
	return words(recorded) == words(ran)
}

// contradiction says where the record of a session and what the server ran do
// not fit together, "" if they do.
func contradiction(s *recorder.Transcript, ran []string) string {
	texts := map[uint64]string{}
	type request struct {
		text      string
		must, may bool // have run
	}
	var requests []request
	for _, e := range s.Entries {
		text := e.Text.Text
		if e.Kind == "prepare" {
			texts[e.Seq] = text
			continue
		}
		if e.Ref != 0 {
			text = texts[e.Ref]
		}
		if e.Kind != "request" || strings.Trim(text, "; ") == "" || text == "rollback" || strings.Contains(text, theEnd) {
			continue
		}
		passed := e.Verdict == "allow" || e.Verdict == "mask"
		r := request{text: text, may: passed && (e.Done == nil || !e.Done.Skipped)}
		r.must = passed && e.Done != nil && !e.Done.Skipped && e.Done.Code == ""
		requests = append(requests, r)
	}
	// What the record says is a pattern that the executions have to match:
	// after each request, how many of them may have happened.
	at := map[int]bool{0: true}
	for _, r := range requests {
		next := map[int]bool{}
		for n := range at {
			if !r.must {
				next[n] = true
			}
			if r.may && n < len(ran) && same(r.text, ran[n]) {
				next[n+1] = true
			}
		}
		if len(next) == 0 {
			return fmt.Sprintf("the record says that %s ran", r.text)
		}
		at = next
	}
	if !at[len(ran)] {
		most := 0
		for n := range at {
			most = max(most, n)
		}
		return fmt.Sprintf("of what the server ran, the record does not hold %v", ran[most:])
	}
	return ""
}

func asText(s *recorder.Transcript) string {
	var b strings.Builder
	for _, e := range s.Entries {
		fmt.Fprintf(&b, "%d %s ref=%d %q %s %s", e.Seq, e.Kind, e.Ref, e.Text.Text, e.Verdict, e.Unclassified)
		if e.Done != nil {
			fmt.Fprintf(&b, " -> %+v", *e.Done)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "end: %s", s.Outcome)
	return b.String()
}
