package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A result is what one run of pgbench showed.
type result struct {
	tps      float64
	p50, p99 time.Duration // of a transaction
	cpu      float64       // microseconds per transaction in what stands between
	rss      int           // KiB of it, near the run's end
}

var (
	tpsLine   = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)
	countLine = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)
)

// pgbench runs pgbench -S once through the contender.
func (b *bench) pgbench(ctx context.Context, c *contender, mode string, clients int, d time.Duration) (result, error) {
	var r result
	logs := filepath.Join(b.dir, "transactions")
	cmd := c.command(ctx, "pgbench", "-n", "-S", "-M", mode, "-c", strconv.Itoa(clients),
		"-j", strconv.Itoa(min(clients, 2)), "-T", strconv.Itoa(int(d.Seconds())), "-l", "--log-prefix="+logs)
	before, err := c.usage()
	if err != nil {
		return r, err
	}
	sample := time.AfterFunc(d*8/10, func() {
		if u, err := c.usage(); err == nil {
			r.rss = u.rss
		}
	})
	out, err := cmd.CombinedOutput()
	sample.Stop()
	if err != nil {
		return r, fmt.Errorf("pgbench: %w\n%s\n%s", err, out, c.said())
	}
	after, err := c.usage()
	if err != nil {
		return r, err
	}
	count := number(countLine, out)
	if count == 0 {
		return r, fmt.Errorf("pgbench made no transactions:\n%s", out)
	}
	r.tps = number(tpsLine, out)
	r.cpu = float64((after.cpu - before.cpu).Microseconds()) / count
	r.p50, r.p99, err = latencies(logs)
	return r, err
}

func number(line *regexp.Regexp, out []byte) float64 {
	m := line.FindSubmatch(out)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(string(m[1]), 64) // the pattern matches numbers only
	return n
}

// latencies reads, and removes, the logs that pgbench's threads wrote: a line
// a transaction, whose third field is its microseconds.
func latencies(prefix string) (p50, p99 time.Duration, err error) {
	files, err := filepath.Glob(prefix + ".*")
	if err != nil {
		return 0, 0, err
	}
	var all []int
	for _, name := range files {
		if all, err = appendLatencies(all, name); err != nil {
			return 0, 0, err
		}
		if err := os.Remove(name); err != nil {
			return 0, 0, err
		}
	}
	if len(all) == 0 {
		return 0, 0, fmt.Errorf("no transactions logged in %s", prefix)
	}
	slices.Sort(all)
	at := func(percent int) time.Duration { return time.Duration(all[len(all)*percent/100]) * time.Microsecond }
	return at(50), at(99), nil
}

func appendLatencies(all []int, name string) ([]int, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			return nil, fmt.Errorf("%s: not a line of a transaction: %q", name, lines.Text())
		}
		us, err := strconv.Atoi(fields[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, us)
	}
	return all, lines.Err()
}
