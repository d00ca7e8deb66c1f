//go:build k8s

package cluster_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/cluster"
	"agentd.dev/agentd/internal/image"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// What an operator does with deploy/, kubectl and nothing else, in this order,
// on one cluster.
func TestAnOperatorRunsAgentdOnACluster(t *testing.T) {
	o := newOperator(t)
	for _, step := range []struct {
		name string
		do   func(*operator, *testing.T)
	}{
		{"apply deploy/", (*operator).apply},
		{"a pod without the label is left alone", (*operator).askUnlabelled},
		{"a running pod is captured once it is labelled", (*operator).label},
		{"a changed policy takes effect without a restart", (*operator).changePolicy},
		{"rolling the DaemonSet under fifty sessions cuts none", (*operator).roll},
		{"deleting deploy/ leaves the node as it was", (*operator).remove},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.do(o, t) }) {
			o.explain(t)
			return // the next step begins where this one ends
		}
	}
}

// An operator has a cluster with a client in it and a database beside it.
type operator struct {
	*cluster.Node
	deploy string // a copy of deploy/
	db     *lab.Server
	before snapshot
}

const (
	namespace = "agents"
	client    = "reporter"
	account   = "reporting"
)

func newOperator(t *testing.T) *operator {
	o := &operator{Node: cluster.Start(t)}
	o.Import(t, image.Agentd)
	o.Import(t, image.Client)
	o.db = lab.Postgres(t, lab.InNetns(o.Beside.Path), lab.ListenOn(cluster.Outside))
	o.db.SQL(t, "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2), (3); ALTER TABLE orders OWNER TO "+o.db.User)
	o.kubectl(t, "create", "namespace", namespace)
	o.kubectl(t, "--namespace", namespace, "create", "serviceaccount", account)
	o.must(t)(o.KubectlWith(t, `
apiVersion: v1
kind: Pod
metadata: {name: `+client+`, namespace: `+namespace+`, labels: {app: `+client+`}}
spec:
  serviceAccountName: `+account+`
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: `+image.Client+`
      imagePullPolicy: Never
      env: [{name: PGPASSWORD, value: `+o.db.Password+`}]
`, "apply", "--filename", "-"))
	o.kubectl(t, "--namespace", namespace, "wait", "--for=condition=Ready", "--timeout=60s", "pod/"+client)
	o.before = o.snapshot(t)
	return o
}

// apply changes what an operator has to, and what keeps agentd to this node's
// part of the machine, and applies deploy/.
func (o *operator) apply(t *testing.T) {
	o.deploy = filepath.Join(o.Dir, "deploy")
	if out, err := exec.Command("cp", "-r", filepath.Join(lab.Root(t), "deploy"), o.deploy).CombinedOutput(); err != nil {
		t.Fatalf("copy deploy/: %v\n%s", err, out)
	}
	o.edit(t, "    capture:\n", "    capture:\n      root: "+o.Cgroup+"\n")
	o.edit(t, "    targets: []\n", fmt.Sprintf("    targets: [{name: orders, address: %q, protocol: postgres, default: allow}]\n", o.db.Addr))
	o.kubectl(t, "apply", "--filename", o.deploy)
	o.kubectl(t, "--namespace", "agentd", "rollout", "status", "--timeout=90s", "daemonset/agentd")
	o.agentctl(t, "status", "--here")
	o.kubectl(t, "diff", "--kustomize", o.deploy) // fails if that were another way
	after := o.snapshot(t)
	for _, kind := range []string{"pins", "programs", "listeners", "processes", "cgroups", "mounts"} {
		if len(without(after[kind], o.before[kind])) == 0 {
			t.Errorf("a snapshot does not see %s of agentd", kind)
		}
	}
}

func (o *operator) askUnlabelled(t *testing.T) {
	o.psql(t, "SELECT count(*) FROM orders")
	if got := o.sessions(t); len(got) > 0 {
		t.Errorf("sessions are %+v, want none", got)
	}
}

func (o *operator) label(t *testing.T) {
	address := strings.TrimSpace(o.psql(t, "SELECT inet_client_addr()"))
	o.kubectl(t, "--namespace", namespace, "label", "pod", client, "agentd.dev/capture=true")
	o.Await(t, "a session of the labelled pod", func() error {
		if got := strings.TrimSpace(o.psql(t, "SELECT inet_client_addr()")); got != address {
			t.Errorf("the database sees %s, want %s as before", got, address)
		}
		if len(o.sessions(t)) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	got := o.sessions(t)[0]
	want := recorder.Place{
		Namespace: namespace, Pod: client, Container: "main", ServiceAccount: account,
		PodUID: o.kubectl(t, "--namespace", namespace, "get", "pod", client, "--output=jsonpath={.metadata.uid}"),
	}
	if got.Namespace != want.Namespace || got.Pod != want.Pod || got.Container != want.Container || got.ServiceAccount != want.ServiceAccount || got.PodUID != want.PodUID {
		t.Errorf("the session is of %+v, want %+v", got.Place, want)
	}
	if got.Labels["app"] != client || got.Target != "orders" || got.User != o.db.User {
		t.Errorf("labels %v, target %q, user %q; want app=%s, orders and %s", got.Labels, got.Target, got.User, client, o.db.User)
	}
	o.agentctl(t, "status") // fails unless a connection from inside of the pod came to agentd
	if table := o.agentctl(t, "sessions", "list"); !strings.Contains(table, client) {
		t.Errorf("sessions list does not name the pod:\n%s", table)
	}
}

func (o *operator) changePolicy(t *testing.T) {
	const drop = "DROP TABLE IF EXISTS no_such_table"
	if out, err := o.ask(t, drop); err != nil {
		t.Fatalf("before the change: %v\n%s", err, out)
	}
	pid := o.daemon(t)
	o.edit(t, "    rules: []\n", `    rules:
      - name: no-drop
        on: request
        when: sql.verbs.exists(v, v == "drop")
        do: deny
        message: Dropping tables needs a person.
`)
	o.kubectl(t, "apply", "--filename", filepath.Join(o.deploy, "config.yaml"))
	o.Await(t, "the new policy", func() error {
		_, err := o.ask(t, drop)
		if err == nil {
			return fmt.Errorf("DROP is let through")
		}
		if !strings.Contains(err.Error(), "Dropping tables needs a person.") {
			t.Fatalf("DROP: %v, want the rule's message", err)
		}
		return nil
	})
	if got := o.daemon(t); got != pid {
		t.Errorf("agentd has pid %d, want %d as before", got, pid)
	}
}

func (o *operator) remove(t *testing.T) {
	o.kubectl(t, "delete", "--timeout=120s", "--filename", o.deploy)
	o.Await(t, "the node as it was", func() error { return o.snapshot(t).differs(o.before) })
	o.psql(t, "SELECT count(*) FROM orders")
}

// edit changes the configuration in the copy of deploy/.
func (o *operator) edit(t *testing.T, from, to string) {
	t.Helper()
	path := filepath.Join(o.deploy, "config.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), from); n != 1 {
		t.Fatalf("deploy/config.yaml has %q %d times, want once", from, n)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// kubectl runs kubectl, which must succeed, and returns what it printed.
func (o *operator) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return o.must(t)(o.Kubectl(t, args...))
}

func (o *operator) must(t *testing.T) func(string, error) string {
	return func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// agentctl runs it as the README says.
func (o *operator) agentctl(t *testing.T, args ...string) string {
	t.Helper()
	return o.kubectl(t, append([]string{"--namespace", "agentd", "exec", "daemonset/agentd", "--", "agentctl"}, args...)...)
}

// sessions are what `agentctl sessions list` knows, the latest last.
func (o *operator) sessions(t *testing.T) (list []recorder.Summary) {
	t.Helper()
	decode(t, o.agentctl(t, "sessions", "list", "--limit=0", "--output=json"), &list)
	return list
}

// daemon returns the pid of agentd.
func (o *operator) daemon(t *testing.T) int {
	t.Helper()
	var status struct{ PID int }
	decode(t, o.agentctl(t, "status", "--output=json"), &status)
	return status.PID
}

func decode(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// ask runs a statement in the client's psql.
func (o *operator) ask(t *testing.T, statement string) (string, error) {
	t.Helper()
	return o.inClient(t, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", cluster.Outside, "-U", o.db.User, "-d", o.db.Database, "-c", statement)
}

// psql is ask for a statement that must succeed.
func (o *operator) psql(t *testing.T, statement string) string {
	t.Helper()
	return o.must(t)(o.ask(t, statement))
}

func (o *operator) inClient(t *testing.T, command ...string) (string, error) {
	t.Helper()
	return o.Kubectl(t, append([]string{"--namespace", namespace, "exec", client, "--"}, command...)...)
}

// explain logs what may tell why a step failed.
func (o *operator) explain(t *testing.T) {
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "--output=wide"},
		{"--namespace", "agentd", "get", "events"},
		{"--namespace", "agentd", "logs", "--selector=app.kubernetes.io/name=agentd", "--tail=100", "--prefix"},
		{"--namespace", "agentd", "logs", "--selector=app.kubernetes.io/name=agentd", "--tail=100", "--prefix", "--previous"},
	} {
		out, err := o.Kubectl(t, args...)
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
