package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A cell names what was measured together.
type cell struct {
	contender, mode string
	clients         int
}

// results are the runs of each cell, one a round.
type results map[cell][]result

// median returns the cell's runs as one: each number is the median of its own.
func (r results) median(c cell) (m result, ok bool) {
	runs := r[c]
	if len(runs) == 0 {
		return m, false
	}
	return result{
		tps: middle(runs, func(r result) float64 { return r.tps }),
		p50: time.Duration(middle(runs, func(r result) float64 { return float64(r.p50) })),
		p99: time.Duration(middle(runs, func(r result) float64 { return float64(r.p99) })),
		cpu: middle(runs, func(r result) float64 { return r.cpu }),
		rss: int(middle(runs, func(r result) float64 { return float64(r.rss) })),
	}, true
}

func middle[T any](runs []T, of func(T) float64) float64 {
	var values []float64
	for _, r := range runs {
		values = append(values, of(r))
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// print writes a table for each mode and number of clients. "x" columns are
// ratios to direct in the same rounds.
func (r results) print(w io.Writer, p *plan) {
	for _, mode := range p.modes {
		for _, clients := range p.clients {
			fmt.Fprintf(w, "pgbench -S -M %s, %d clients; medians of %d rounds of %v\n", mode, clients, p.rounds, p.time)
			r.table(w, mode, clients)
		}
	}
	if p.sessions > 0 {
		fmt.Fprintf(w, "%d sessions at once\n", p.sessions)
		r.table(w, "sessions", p.sessions)
	}
}

func (r results) table(w io.Writer, mode string, clients int) {
	direct, _ := r.median(cell{"direct", mode, clients})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\ttps\tx\tp50 us\tx\tp99 us\tx\tCPU us/tx\tRSS MiB\t")
	for _, c := range contenders {
		m, ok := r.median(cell{c.name, mode, clients})
		if !ok {
			continue
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%d\t%.2f\t%d\t%.2f\t", c.name, m.tps, m.tps/direct.tps,
			m.p50.Microseconds(), ratio(m.p50, direct.p50), m.p99.Microseconds(), ratio(m.p99, direct.p99))
		if c.start == nil {
			fmt.Fprint(t, "\t\t\n")
			continue
		}
		fmt.Fprintf(t, "%.1f\t%.1f\t\n", m.cpu, float64(m.rss)/1024)
	}
	t.Flush()
	fmt.Fprintln(w)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }
