package agentd_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
)

// opens reports whether a way led to a protected value in trials, of the right
// guess and the wrong one if it is an oracle, and how.
func (w *way) opens(j *judge, trials, direct []*trial) (bool, string) {
	switch {
	case w.slow:
		right, wrong := slowest(&trials[0].heard), slowest(&trials[1].heard)
		// A refusal is no answer, however long this machine takes for it.
		ran := outcome(j.read(&trials[0].heard)) != "refused" || outcome(j.read(&trials[1].heard)) != "refused"
		return ran && (right > patience) != (wrong > patience), fmt.Sprintf("the answer took %v or %v", right, wrong)
	case w.oracle():
		right, wrong := answer(&trials[0].heard), answer(&trials[1].heard)
		return right != wrong, "the answer tells a right guess from a wrong one"
	}
	for _, tr := range trials {
		if how := j.finds(&tr.heard); how != "" {
			return true, how
		}
	}
	if w.tells {
		shown := j.read(&trials[0].heard)
		for _, cell := range j.read(&direct[0].heard).cells {
			if slices.ContainsFunc(shown.cells, func(c []byte) bool { return bytes.Equal(c, cell) }) {
				return true, fmt.Sprintf("%.100q is shown, which depends on the value", cell)
			}
		}
	}
	return false, ""
}

// patience tells an answer that was held up by a statement from one that was
// not.
const patience = 700 * time.Millisecond

func slowest(h *dialogue.Heard) time.Duration {
	longest := time.Duration(0)
	for _, a := range h.Answers {
		longest = max(longest, a.Took)
	}
	return longest
}

// answer is what a client makes of an answer: all of it.
func answer(h *dialogue.Heard) string { return string(joinedAnswers(h)) + h.End }

// outcome says what came of a way that showed nothing.
func outcome(e *earful) string {
	word := func(words string) bool {
		return strings.Contains(e.end, words) || slices.ContainsFunc(e.failures, said(words))
	}
	switch {
	case word("(agentd, rule"):
		return "refused"
	case word("agentd does not show"):
		return "withheld"
	case e.end != "":
		return "ended"
	case slices.ContainsFunc(append(e.cells, e.copied.Bytes()), replaced):
		return "masked"
	case e.nulls > 0, bytes.HasPrefix(e.copied.Bytes(), []byte("PGCOPY")), bytes.Contains(e.copied.Bytes(), []byte(`\N`)):
		return "null"
	case slices.ContainsFunc(e.failures, func(f pgproto3.ErrorResponse) bool { return f.Severity == "ERROR" }):
		return "error"
	case e.rows == 0 && e.copied.Len() == 0:
		return "nothing"
	}
	return "other"
}

// transcript is what a trial heard, for people.
func transcript(trials []*trial) string {
	var b strings.Builder
	for _, tr := range trials {
		fmt.Fprintf(&b, "%s (direct %v, right %v): %s\n", tr.protocol.name, tr.direct, tr.right, tr.way.text)
		dialogue.Walk(joinedAnswers(&tr.heard), func(kind byte, body []byte) {
			if !strings.ContainsRune("Z12nSKt", rune(kind)) {
				fmt.Fprintf(&b, "\t%c %.300q\n", kind, body)
			}
		})
		if tr.heard.End != "" {
			fmt.Fprintf(&b, "\tend: %s\n", tr.heard.End)
		}
	}
	return b.String()
}

const (
	tableStart = "| group | way | simple | extended text | extended binary |\n|---|---|---|---|---|\n"
	tableEnd   = "\n## "
)

// compareDocument compares the table in docs/masking.md with what was found.
// UPDATE_DOCS=1 go test ./agentd -run TestEveryWayToAMaskedColumn writes it, to
// be reviewed as a diff.
func compareDocument(t *testing.T, found map[*way]map[string]string) {
	t.Helper()
	path := filepath.Join(lab.Root(t), "docs", "masking.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableStart)
	if !ok {
		t.Fatalf("%s has no table that begins with %q", path, tableStart)
	}
	got, after, ok := strings.Cut(rest, tableEnd)
	if !ok {
		t.Fatalf("%s has nothing behind its table", path)
	}
	want := table(found)
	if got == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Errorf("%s is not what came of the ways; UPDATE_DOCS=1 writes it. It differs in\n%s", path, changed(got, want))
		return
	}
	if err := os.WriteFile(path, []byte(before+tableStart+want+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// changed lists the lines of two tables that the other one does not have.
func changed(got, want string) string {
	var b strings.Builder
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for _, line := range g {
		if !slices.Contains(w, line) {
			fmt.Fprintf(&b, "got  %s\n", line)
		}
	}
	for _, line := range w {
		if !slices.Contains(g, line) {
			fmt.Fprintf(&b, "want %s\n", line)
		}
	}
	return b.String()
}

func table(found map[*way]map[string]string) string {
	var b strings.Builder
	for i := range ways {
		w := &ways[i]
		fmt.Fprintf(&b, "| %s | %s |", w.group, w.title())
		for _, p := range protocols {
			fmt.Fprintf(&b, " %s |", found[w][p.name])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// replaced reports whether b has the text of the policy, as it is or as bytes
// are written.
func replaced(b []byte) bool {
	return bytes.Contains(b, []byte("[masked]")) || bytes.Contains(b, []byte(hex.EncodeToString([]byte("[masked]"))))
}

// title is the way's name as the document has it.
func (w *way) title() string {
	name := strings.ReplaceAll(w.name, "|", `\|`)
	if w.chief {
		name += " *(superuser)*"
	}
	return name
}

func said(words string) func(pgproto3.ErrorResponse) bool {
	return func(f pgproto3.ErrorResponse) bool { return strings.Contains(f.Message, words) }
}
