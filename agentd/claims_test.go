package agentd_test

import (
	"encoding/json"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

const sayWhy = `
rules:
  - {name: say-why, on: request, do: deny, when: 'claimed.task == ""', message: Say on what you work.}
  - {name: not-that, on: request, do: deny, when: 'claimed.task == "T-13"', message: Not that.}
`

func TestWhatAProcessClaimsIsRecordedAndJudged(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: sayWhy, Target: server, Config: "identity: {environment: [task=TASK_ID, TRACEPARENT, UNSET]}\n"})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, tt := range []struct{ env, text, want string }{
		{"", "select 1;", "say-why"},
		{"TASK_ID=T-17", "select 1;", "1\n"},
		{"TASK_ID=T-13", "select 1;", "not-that"},
		{"TASK_ID=T-13", "select 1 /*task='T-17'*/;", "1\n"},
		{"", "select 2 /*task='T-18'*/; select 2;", "say-why"},
		{"TRACEPARENT=00-" + trace + "-00f067aa0ba902b7-01", "select 1;", "say-why"},
	} {
		cmd := psql(server, "\\set VERBOSITY terse", tt.text)
		if tt.env != "" {
			cmd.Env = append(cmd.Environ(), tt.env)
		}
		if got := output(t, agentd.Captured(t, cmd)); !strings.Contains(got, tt.want) {
			t.Errorf("%s, %s printed %q, want %q", tt.env, tt.text, got, tt.want)
		}
	}
	for claim, want := range map[string]int{"task=T-17": 2, "task=T-18": 1, "trace=" + trace: 1, "task=T-99": 0} {
		out, err := agentd.Ctl(t, "sessions", "list", "--claim", claim, "-o", "json")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var list []recorder.Summary
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != want {
			t.Errorf("--claim %s: %d sessions (%v), want %d", claim, len(list), err, want)
		}
	}
}
