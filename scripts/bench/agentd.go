package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const agentdConfig = `node: bench
state: %[1]s/state
socket: %[1]s/agentd.sock
metrics: ""
capture: {root: %[2]s, pins: %[1]s/bpf/agentd}
policies: [%[1]s/policy.yaml]
credentials: [{name: connector, user: connector, password: {file: %[1]s/password}}]
targets: [{name: bench, address: "127.0.0.1:%[3]d", protocol: postgres, default: allow}]
`

// The rules are there to be asked about every statement; none applies.
const agentdPolicy = `rules:
  - name: no-destructive-sql
    on: request
    when: sql.verbs.exists(v, v in ["drop", "truncate"])
    do: deny
    message: Dropping tables needs a person.
  - name: hide-fillers
    on: result
    when: '!(workload.name in ["plain", "assumed", "searched"])'
    columns: [pgbench_accounts.filler, pgbench_history.filler]
    do: mask
    with: "***"
  - name: hide-addresses
    on: result
    when: workload.name == "masked"
    columns: [bulk.email]
    do: mask
    with: "***"
  - name: find-everything
    on: result
    when: workload.name == "searched"
    find: [email, card, ssn, iban, phone, ip, jwt, key]
    do: mask
    with: "***"
  - name: connect-for-it
    on: login
    when: workload.name == "assumed"
    do: assume
    credential: connector
`

// startAgentd starts the daemon on a control group of its own, with a rule that
// denies, one that masks, and every statement recorded. Clients connect to the
// server's own port and run under agentctl.
func startAgentd(b *bench, c *contender) error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	group := filepath.Join(root, filepath.Base(b.dir))
	bpf := filepath.Join(b.dir, "bpf")
	c.after = func() {
		_ = unix.Unmount(bpf, 0) // removing the scratch folder fails if this did
		_ = os.Remove(group)
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(bpf, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("bpf", bpf, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount bpf: %w", err)
	}
	config, policy := filepath.Join(b.dir, "agentd.yaml"), filepath.Join(b.dir, "policy.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, agentdConfig, b.dir, group, b.port), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(policy, []byte(agentdPolicy), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "password"), []byte(connectorPassword), 0o600); err != nil {
		return err
	}
	c.prefix = []string{filepath.Join(b.root, "bin/agentctl"), "--socket", filepath.Join(b.dir, "agentd.sock"), "run", "--"}
	return b.launch(c, exec.Command(filepath.Join(b.root, "bin/agentd"), "--config", config))
}

// cgroupRoot returns where the cgroup v2 hierarchy is mounted.
func cgroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("no cgroup2 in /proc/self/mounts: mount one, or boot with cgroup v2")
}
