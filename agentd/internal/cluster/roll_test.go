//go:build k8s

package cluster_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// sessionsScript holds fifty sessions open until /tmp/stop is there: half of
// them ask all the time, half say nothing in between. Beside them, one
// connection after another is made. What each has to say is in a file.
const sessionsScript = `
ask() { psql -XqAt -v ON_ERROR_STOP=1 -h "$1" -U "$2" -d "$3" 2>&1; echo "exit $?"; }
holding() {
	echo "SELECT 'first';"
	until [ -e /tmp/stop ]; do
		[ $(($1 % 2)) = 0 ] || echo "SELECT 'next';"
		sleep 0.3
	done
	echo "SELECT 'last';"
}
mkdir /tmp/sessions
n=0
while [ $n -lt 50 ]; do
	n=$((n + 1))
	holding $n | ask "$@" >/tmp/sessions/$n &
done
until [ -e /tmp/stop ]; do
	echo "SELECT 'new';" | ask "$@" >>/tmp/new
done
wait
`

// roll replaces the pod of the DaemonSet by another one, as an upgrade does.
func (o *operator) roll(t *testing.T) {
	pid := o.daemon(t)
	sessions := o.Command(t, "kubectl", "--namespace", namespace, "exec", client, "--",
		"sh", "-c", sessionsScript, "sessions", o.db.Addr.Addr().String(), o.db.User, o.db.Database)
	var said strings.Builder
	sessions.Stdout, sessions.Stderr = &said, &said
	if err := sessions.Start(); err != nil {
		t.Fatal(err)
	}
	o.awaitFifty(t, "first", 1)

	o.kubectl(t, "--namespace", "agentd", "rollout", "restart", "daemonset/agentd")
	o.Await(t, "another agentd", func() error {
		out, err := o.Kubectl(t, "--namespace", "agentd", "exec", "daemonset/agentd", "--", "agentctl", "status", "--here", "--output=json")
		if err != nil {
			return err
		}
		var status struct{ PID int }
		decode(t, out, &status)
		if status.PID == pid {
			return errors.New("it is the old one")
		}
		return nil
	})
	o.awaitNews(t)
	o.awaitPods(t, 2) // the old one is told to stop, and does not while it has sessions

	if _, err := o.inClient(t, "touch", "/tmp/stop"); err != nil {
		t.Fatal(err)
	}
	if err := sessions.Wait(); err != nil {
		t.Fatalf("the sessions: %v\n%s", err, said.String())
	}
	o.awaitFifty(t, "last", 1)
	o.awaitFifty(t, "exit 0", 1)
	o.newOnesHeld(t)
	o.awaitPods(t, 1)
	o.kubectl(t, "--namespace", "agentd", "rollout", "status", "--timeout=60s", "daemonset/agentd")
	o.agentctl(t, "status", "--here")
	o.agentctl(t, "audit", "verify")
	for _, s := range o.sessions(t) {
		if s.State != "ended" {
			t.Errorf("session %s is %s (%s), want ended", s.ID, s.State, s.Outcome)
		}
	}
}

// awaitPods waits until there are so many pods of agentd's, of which all but
// one have been told to stop.
func (o *operator) awaitPods(t *testing.T, want int) {
	t.Helper()
	o.Await(t, fmt.Sprintf("%d pods", want), func() error {
		told := strings.Fields(o.kubectl(t, "--namespace", "agentd", "get", "pods", "--output=jsonpath={.items[*].metadata.deletionTimestamp}"))
		pods := strings.Fields(o.kubectl(t, "--namespace", "agentd", "get", "pods", "--output=name"))
		if len(pods) != want || len(told) != want-1 {
			return fmt.Errorf("there are %v, told to stop at %v", pods, told)
		}
		return nil
	})
}

// awaitFifty waits until each session has printed a line so many times.
func (o *operator) awaitFifty(t *testing.T, line string, times int) {
	t.Helper()
	o.Await(t, "fifty sessions that say "+line, func() error {
		out, _ := o.inClient(t, "grep", "-c", "^"+line+"$", "-r", "/tmp/sessions") // fails if there is none
		if got := strings.Count(out, fmt.Sprintf(":%d\n", times)); got != 50 {
			return fmt.Errorf("%d do:\n%s", got, out)
		}
		return nil
	})
}

// awaitNews waits until the sessions that ask have been answered anew, by
// whoever serves them now.
func (o *operator) awaitNews(t *testing.T) {
	t.Helper()
	count := func() int {
		out, err := o.inClient(t, "sh", "-c", "cat /tmp/sessions/* | grep -c '^next$'")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	o.Await(t, "answers after the upgrade", func() error {
		if got := count(); got < before+50 {
			return fmt.Errorf("%d of 50", got-before)
		}
		return nil
	})
}

// newOnesHeld fails the test if a connection made during the upgrade failed.
func (o *operator) newOnesHeld(t *testing.T) {
	t.Helper()
	out, err := o.inClient(t, "cat", "/tmp/new")
	if err != nil {
		t.Fatal(err)
	}
	made, held := strings.Count(out, "exit "), strings.Count(out, "new\nexit 0\n")
	if made < 10 || held != made {
		t.Errorf("%d of %d new connections held, want all of at least ten:\n%s", held, made, strings.ReplaceAll(out, "new\nexit 0\n", ""))
	}
	t.Logf("%d connections were made meanwhile", made)
}
