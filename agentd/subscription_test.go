package agentd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// A server that is a workload itself subscribes to another's tables, which is a
// replication connection of its own making.
func TestASubscriptionIsRefusedUnlessARuleAllowsReplication(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, policy string
		refused      string // what CREATE SUBSCRIPTION then says, "" if it works
	}{
		{"by default", judged, "A replication connection carries whole tables"},
		{"allowed", replicating, ""},
		{"allowed where columns are masked", replicating + strings.TrimPrefix(watching, judged), "columns of this database are masked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := replicated(t)
			server.SQL(t, "create publication p for table customers")
			replica := lab.Postgres(t)
			replica.SQL(t, "create table customers (id int primary key, name text, email text)")
			a := lab.NewAgentd(t, lab.Setup{Policy: tt.policy, Target: server})
			home := a.Root.Child(t, "replica")
			edit(t, a, func(config string) string {
				return strings.Replace(config, "capture: {", fmt.Sprintf("capture: {workloads: [{name: replica, cgroup: %q}], ", "/"+filepath.Base(a.Root.Path)+"/replica"), 1)
			})
			if err := a.Start(t); err != nil {
				t.Fatal(err)
			}
			pid := strconv.Itoa(replica.Process.Cmd.Process.Pid)
			if err := os.WriteFile(filepath.Join(home.Path, "cgroup.procs"), []byte(pid), 0); err != nil {
				t.Fatal(err)
			}
			subscribe := exec.Command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", replica.Socket, "-p", portOf(replica), "-U", "postgres", "-d", replica.Database, "-c",
				fmt.Sprintf("create subscription s connection 'host=%s port=%s dbname=%s user=%s password=%s sslmode=disable' publication p",
					server.Addr.Addr(), portOf(server), server.Database, server.User, server.Password))
			out, err := subscribe.CombinedOutput()
			if tt.refused != "" {
				if err == nil || !strings.Contains(string(out), tt.refused) {
					t.Errorf("psql printed %s (%v), want %q", out, err, tt.refused)
				}
				if slots := server.SQL(t, "select count(*) from pg_replication_slots"); slots != "1" {
					t.Errorf("the server has %s slots, want the one from before", slots)
				}
				return
			}
			if err != nil {
				t.Fatalf("psql printed %s (%v)", out, err)
			}
			server.SQL(t, "insert into customers values (77, 'Tim', 'tim@example.com')")
			replica.SQL(t, "set statement_timeout = '30s'; do $$begin loop exit when exists (select from customers where id = 77); perform pg_sleep(0.05); end loop; end$$")
			listed, err := a.Ctl(t, "sessions", "list", "-o", "json")
			if err != nil || !strings.Contains(listed, `"replica"`) {
				t.Errorf("sessions list: %v\n%s", err, listed)
			}
			replica.SQL(t, "drop subscription s")
		})
	}
}
