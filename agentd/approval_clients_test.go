package agentd_test

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/conversation"
	"agentd.dev/agentd/internal/lab"
)

// everything is held, within transactions and pipelines, too, but for what is
// too long to be shown to a person.
const everything = `
rules:
  - name: all
    on: request
    when: sql.verbs.exists(v, v != "") && !sql.normalized.contains("megabyte")
    do: approve
    inTransaction: hold
    expires: 1h
`

// waitNotice is how clients show the notice that they wait.
var waitNotice = regexp.MustCompile(`(?m)^.*agentd-approval.*\n(HINT:.*\n|.*agentctl approvals.*\n)*`)

// unasked are the clients that send what nobody can be asked about, and so what
// is refused: texts that are too long to be shown, what an earlier error has kept
// from being prepared, and calls by OID. pgbench takes hours.
var unasked = map[string]bool{
	"pgx simple": true, "pgx pipeline": true, "raw bytes": true,
	"pgbench simple": true, "pgbench extended": true, "pgbench prepared": true,
}

// Each client holds its conversation while a person agrees to each statement of
// it, and sees the notice at most.
func TestClientsThatWaitForEachStatementSeeNoDifference(t *testing.T) {
	t.Parallel()
	o := newOffice(t, everything, lab.Setup{Open: true, Config: "approvals: {keep: 100}\n"})
	o.server.SQL(t, conversation.Fixture)
	for _, client := range conversation.Clients {
		if unasked[client.Name] {
			continue
		}
		t.Run(client.Name, func(t *testing.T) {
			want := client.Transcript(t, client.Cmd(t, o.server))
			agreeing, end := context.WithCancel(context.Background())
			agreed := make(chan int, 1)
			go func() { agreed <- o.agree(agreeing) }()
			got := client.Transcript(t, o.group.Put(client.Cmd(t, o.server)))
			end()
			if n := <-agreed; n < 20 {
				t.Errorf("%d statements waited: the test is too tame to mean anything", n)
			}
			if diff := conversation.Difference(waitNotice.ReplaceAll(got, nil), want); diff != "" {
				t.Errorf("captured differs from direct: %s", diff)
			}
		})
	}
}

// agree agrees to whatever waits until ctx ends, and returns to how much.
func (o *office) agree(ctx context.Context) (n int) {
	for version := uint64(0); ctx.Err() == nil; {
		list, err := o.desk.Approvals(ctx, control.ApprovalFilter{Since: version})
		if err != nil && !errors.Is(err, context.Canceled) {
			o.t.Error(err)
			return n
		}
		version = list.Version
		for _, r := range list.Approvals {
			if _, err := o.desk.Approve(ctx, r.ID, control.Decision{}); err == nil {
				n++
			}
		}
	}
	return n
}
