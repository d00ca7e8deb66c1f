package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// A stream is one way to read many rows.
type stream struct {
	name    string
	through string // the contender's name
	as      string // the workload's name, for agentd
	copies  bool   // with COPY TO STDOUT
}

// plainForwarder is what streams are compared with.
const plainForwarder = "C epoll"

// streams are in the order in which they take turns.
var streams = []stream{
	{name: "direct", through: "direct"},
	{name: plainForwarder, through: plainForwarder},
	{name: "haproxy", through: "haproxy"},
	{name: "agentd, no mask", through: "agentd", as: "plain"},
	{name: "agentd, column mask", through: "agentd", as: "masked"},
	{name: "agentd, all patterns", through: "agentd", as: "searched"},
	{name: "direct, COPY", through: "direct", copies: true},
	{name: plainForwarder + ", COPY", through: plainForwarder, copies: true},
	{name: "agentd, no mask, COPY", through: "agentd", as: "plain", copies: true},
	{name: "agentd, all patterns, COPY", through: "agentd", as: "searched", copies: true},
}

// bulkTable has rows of 1 KB in everyday words, with an address in a column of
// its own. It is small enough to stay in memory, and read many times over.
const (
	bulkTable = `CREATE TABLE bulk AS
SELECT g AS id, 'user' || g || '@example.com' AS email, now() AS made, repeat(md5(g::text) || ' lorem ipsum dolor, ', 18) AS body
FROM generate_series(1, 10000) g`
	bulkRows = 10000
)

// query reads about rows rows.
func (s *stream) query(rows int) string {
	text := fmt.Sprintf("SELECT b.id, b.email, b.made, b.body FROM generate_series(1, %d) g, bulk b", max(1, rows/bulkRows))
	if s.copies {
		return "COPY (" + text + ") TO STDOUT"
	}
	return text
}

// A flow is what one run of a stream showed.
type flow struct {
	bytes float64
	took  time.Duration
	cpu   time.Duration // in what stands between
}

func (f flow) rate() float64 { return f.bytes / 1e6 / f.took.Seconds() }

// stream reads rows once.
func (b *bench) stream(ctx context.Context, s *stream, rows int) (flow, error) {
	var f flow
	c := b.contender(s.through)
	if c == nil {
		return f, nil
	}
	before, err := c.usage()
	if err != nil {
		return f, err
	}
	cmd := c.commandAs(ctx, s.as, b.drain, fmt.Sprintf("127.0.0.1:%d", c.port), s.query(rows))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("drain: %w\n%s", err, c.said())
	}
	var us int64
	if _, err := fmt.Sscan(string(out), &f.bytes, &us); err != nil {
		return f, fmt.Errorf("drain printed %q: %w", out, err)
	}
	f.took = time.Duration(us) * time.Microsecond
	after, err := c.usage()
	f.cpu = after.cpu - before.cpu
	return f, err
}

// prepareBulk makes the table and the program that reads it.
func (b *bench) prepareBulk(ctx context.Context) error {
	if out, err := b.server.command(ctx, "psql", "-Xqc", bulkTable).CombinedOutput(); err != nil {
		return fmt.Errorf("fill the table of long rows: %w\n%s", err, out)
	}
	b.drain = filepath.Join(b.dir, "drain")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.drain, "./scripts/bench/drain")
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// bulk reads in turn through every stream, round after round.
func (p *plan) bulk(ctx context.Context, b *bench) (map[string][]flow, error) {
	if err := b.prepareBulk(ctx); err != nil {
		return nil, err
	}
	all := map[string][]flow{}
	for round := range p.rounds {
		for i := range streams {
			s := &streams[i]
			fmt.Fprintf(os.Stderr, "round %d of %d: %d rows, %s\n", round+1, p.rounds, p.rows, s.name)
			f, err := b.stream(ctx, s, p.rows)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			if f.bytes > 0 {
				all[s.name] = append(all[s.name], f)
			}
		}
	}
	return all, nil
}

// printBulk writes the medians; "x" is the ratio to the plain forwarder.
func printBulk(w io.Writer, p *plan, all map[string][]flow) {
	fmt.Fprintf(w, "%d rows of 1 KB; medians of %d rounds; x is to %s\n", p.rows, p.rounds, plainForwarder)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tMB/s\tx\tCPU ms/GB\t")
	for _, s := range streams {
		runs := all[s.name]
		if len(runs) == 0 {
			continue
		}
		peer := plainForwarder
		if s.copies {
			peer += ", COPY"
		}
		rate := middle(runs, flow.rate)
		fmt.Fprintf(t, "%s\t%.0f\t", s.name, rate)
		if base := all[peer]; len(base) > 0 {
			fmt.Fprintf(t, "%.2f", rate/middle(base, flow.rate))
		}
		fmt.Fprintf(t, "\t%.0f\t\n", middle(runs, func(f flow) float64 { return f.cpu.Seconds() * 1e3 / (f.bytes / 1e9) }))
	}
	t.Flush()
	fmt.Fprintln(w)
}
