package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/PID/stat: Linux shows 100 a second to all
// programs, whatever it counts inside.
const tick = 10 * time.Millisecond

// A usage is what a contender's processes have used so far.
type usage struct {
	cpu time.Duration // user and system, all threads
	rss int           // KiB
}

// usage adds up the contender's process and its children. It is zero if there
// is nothing in between.
func (c *contender) usage() (usage, error) {
	var sum usage
	if c.cmd == nil {
		return sum, nil
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return sum, err
	}
	pid := strconv.Itoa(c.cmd.Process.Pid)
	found := false
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// The name, in parentheses, may hold anything; fields from the third on follow.
		self, rest, _ := strings.Cut(string(text), " ")
		fields := strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:])
		if parent := fields[1]; self != pid && parent != pid {
			continue
		}
		found = found || self == pid
		for _, ticks := range fields[11:13] { // utime, stime
			n, err := strconv.Atoi(ticks)
			if err != nil {
				return sum, fmt.Errorf("%s: %w", path, err)
			}
			sum.cpu += time.Duration(n) * tick
		}
		pages, err := strconv.Atoi(fields[21])
		if err != nil {
			return sum, fmt.Errorf("%s: %w", path, err)
		}
		sum.rss += pages * os.Getpagesize() / 1024
	}
	if !found {
		return sum, fmt.Errorf("%s is gone:\n%s", c.name, c.said())
	}
	return sum, nil
}
