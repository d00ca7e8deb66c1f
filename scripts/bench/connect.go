package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// A login is one way to log in.
type login struct {
	name     string
	through  string // the contender's name
	as       string // the workload's name, for agentd
	password bool   // the client has it
}

// logins are in the order in which they take turns. The server asks the role
// "connector" for its password (SCRAM-SHA-256).
var logins = []login{
	{name: "direct", through: "direct", password: true},
	{name: "haproxy", through: "haproxy", password: true},
	{name: "agentd, the client's login", through: "agentd", as: "plain", password: true},
	{name: "agentd, a credential", through: "agentd", as: "assumed"},
}

const connectorPassword = "bench-password"

// requirePassword makes the role that logs in with a password.
func (b *bench) requirePassword(ctx context.Context) error {
	hba := filepath.Join(b.dir, "postgres", "data", "pg_hba.conf")
	rest, err := os.ReadFile(hba)
	if err != nil {
		return err
	}
	if err := os.WriteFile(hba, append([]byte("host all connector 127.0.0.1/32 scram-sha-256\n"), rest...), 0o600); err != nil {
		return err
	}
	sql := "CREATE ROLE connector LOGIN PASSWORD '" + connectorPassword + "'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO connector; SELECT pg_reload_conf()"
	if out, err := b.server.command(ctx, "psql", "-Xqc", sql).CombinedOutput(); err != nil {
		return fmt.Errorf("make a role with a password: %w\n%s", err, out)
	}
	return nil
}

// logIn runs pgbench with a connection for every transaction.
func (b *bench) logIn(ctx context.Context, l *login, d time.Duration) (result, error) {
	var r result
	c := b.contender(l.through)
	if c == nil {
		return r, nil
	}
	before, err := c.usage()
	if err != nil {
		return r, err
	}
	cmd := c.commandAs(ctx, l.as, "pgbench", "-n", "-C", "-S", "-c", "4", "-j", "2", "-T", fmt.Sprint(int(d.Seconds())))
	cmd.Env = append(cmd.Env, "PGUSER=connector")
	if l.password {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+connectorPassword)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("pgbench: %w\n%s\n%s", err, out, c.said())
	}
	after, err := c.usage()
	if err != nil {
		return r, err
	}
	count := number(countLine, out)
	if count == 0 || strings.Contains(string(out), "aborted") {
		return r, fmt.Errorf("pgbench could not log in:\n%s", out)
	}
	r.tps = number(tpsLine, out)
	r.cpu = float64((after.cpu - before.cpu).Microseconds()) / count
	return r, nil
}

// connects logs in in turn in every way, round after round.
func (p *plan) connects(ctx context.Context, b *bench) (map[string][]result, error) {
	all := map[string][]result{}
	for round := range p.rounds {
		for i := range logins {
			l := &logins[i]
			fmt.Fprintf(os.Stderr, "round %d of %d: connecting, %s\n", round+1, p.rounds, l.name)
			r, err := b.logIn(ctx, l, p.time)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			if r.tps > 0 {
				all[l.name] = append(all[l.name], r)
			}
		}
	}
	return all, nil
}

func printConnects(w io.Writer, p *plan, all map[string][]result) {
	fmt.Fprintf(w, "pgbench -C -S, 4 clients, a connection for each transaction; medians of %d rounds of %v\n", p.rounds, p.time)
	direct := middle(all["direct"], func(r result) float64 { return r.tps })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tlogins/s\tx\tCPU us/login\t")
	for _, l := range logins {
		runs := all[l.name]
		if len(runs) == 0 {
			continue
		}
		tps := middle(runs, func(r result) float64 { return r.tps })
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.0f\t\n", l.name, tps, tps/direct, middle(runs, func(r result) float64 { return r.cpu }))
	}
	t.Flush()
	fmt.Fprintln(w)
}
