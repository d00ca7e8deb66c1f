// Command bench compares agentd with other things that can stand between
// pgbench and PostgreSQL, and with nothing in between.
//
// Everything runs at once on this machine and takes turns in short rounds, so
// that a noisy minute hits all alike; what is printed are medians over the
// rounds. Run it with "make bench".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	runtime.LockOSThread() // PostgreSQL ends with the thread that started it
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A plan is what to measure.
type plan struct {
	rounds   int
	time     time.Duration // of each run of pgbench
	scale    int           // of pgbench's tables
	modes    []string
	clients  []int
	only     []string // contenders; all if empty
	sessions int      // how many at once for the last measurement of memory
	rows     int      // of 1 KB, for bulk results
	connect  bool     // measure logins, too
}

func run() error {
	var p plan
	modes := flag.String("modes", "simple,prepared", "pgbench's query modes")
	clients := flag.String("clients", "1,8,32", "numbers of clients")
	only := flag.String("only", "", "contenders to measure, in place of all; direct always is")
	flag.IntVar(&p.rounds, "rounds", 3, "how often each run is repeated")
	flag.DurationVar(&p.time, "time", 5*time.Second, "how long a run takes, in whole seconds")
	flag.IntVar(&p.scale, "scale", 10, "scale of pgbench's tables")
	flag.IntVar(&p.sessions, "sessions", 100, "sessions at once when memory is measured, 0 for not")
	flag.IntVar(&p.rows, "rows", 500_000, "rows of 1 KB to read in bulk, 0 for not")
	flag.BoolVar(&p.connect, "connect", true, "measure logins, too")
	flag.Parse()
	p.modes = strings.Split(*modes, ",")
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	for c := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(c)
		if err != nil || n < 1 {
			return fmt.Errorf("-clients %s: not a list of numbers", *clients)
		}
		p.clients = append(p.clients, n)
	}
	if p.rounds < 1 || p.time < time.Second || flag.NArg() > 0 {
		return fmt.Errorf("needs at least one round of a second, and flags only")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return p.run(ctx)
}

// run sets the bench up, measures, and clears it away.
func (p *plan) run(ctx context.Context) (err error) {
	b, err := newBench(ctx, p)
	if b != nil {
		defer func() {
			if cleared := b.clear(); err == nil {
				err = cleared
			}
		}()
	}
	if err != nil {
		return err
	}
	results, err := p.measure(ctx, b)
	if err != nil {
		return err
	}
	results.print(os.Stdout, p)
	if p.rows > 0 {
		flows, err := p.bulk(ctx, b)
		if err != nil {
			return err
		}
		printBulk(os.Stdout, p, flows)
	}
	if p.connect {
		logins, err := p.connects(ctx, b)
		if err != nil {
			return err
		}
		printConnects(os.Stdout, p, logins)
	}
	return nil
}

// measure runs pgbench in turn through every contender, round after round.
func (p *plan) measure(ctx context.Context, b *bench) (results, error) {
	all := results{}
	for round := range p.rounds {
		for _, mode := range p.modes {
			for _, clients := range p.clients {
				fmt.Fprintf(os.Stderr, "round %d of %d: %s, %d clients\n", round+1, p.rounds, mode, clients)
				for _, c := range b.contenders {
					r, err := b.pgbench(ctx, c, mode, clients, p.time)
					if err != nil {
						return nil, fmt.Errorf("%s, %s, %d clients: %w", c.name, mode, clients, err)
					}
					key := cell{c.name, mode, clients}
					all[key] = append(all[key], r)
				}
			}
		}
	}
	if p.sessions > 0 {
		for _, c := range b.contenders {
			r, err := b.pgbench(ctx, c, "simple", p.sessions, 2*time.Second)
			if err != nil {
				return nil, fmt.Errorf("%s, %d sessions: %w", c.name, p.sessions, err)
			}
			all[cell{c.name, "sessions", p.sessions}] = []result{r}
		}
	}
	return all, nil
}
