// Package usage counts what workloads do to targets, and learns what is usual
// for them: for conditions on budgets (usage.hour.rows) and on what a workload
// has never done before (first.table).
//
// Counts are over sliding windows of a minute, an hour and a day, and are never
// too low: a window reaches back at least as far as its name says. They are kept
// in a file from one agentd to the next; one that is killed loses the last
// seconds.
//
// What is kept is bounded. What there is no room for is not known, which is an
// error for whoever asks: a rule that restricts then applies. The package knows
// no rules, and does not say who a workload is: its caller does.
package usage

import (
	"errors"
	"time"
)

// Limits on what is kept. A workload that goes beyond is not known any more.
const (
	maxAccounts = 4096               // pairs of a workload and a target
	maxNames    = 4096               // tables, verbs, programs and targets of one workload
	maxName     = 256                // bytes of one
	idleFor     = 30 * 24 * 60 * 60  // seconds after which an account may make room for another
	maxHours    = 128                // active hours that what is typical is made of
	minHours    = 8                  // and as few as tell anything
	Untypical   = int64(1) << 52     // what is typical before that: more than anything is
	saveEvery   = 2 * time.Second    // between two writings of the file
	defaultWait = 7 * 24 * time.Hour // that is learned before anything is new
)

// Why something is not known.
var (
	errFull  = errors.New("more workloads and targets are in use than are counted: raise no more of them, or ask for less in rules")
	errNames = errors.New("this workload uses more names than are kept, so that none is known to be new")
	errBlind = errors.New("what was used before is not known: the file with it was damaged")
	errFacts = errors.New("it is not known what this does")
)
