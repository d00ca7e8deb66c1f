package grammar_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"agentd.dev/decoders/sql"
)

// A thousand sessions of one workload that have a new statement each time keep
// another workload's from being read neither for want of a place nor for long.
func TestAFloodOfNewStatementsKeepsItsOwnWorkloadWaiting(t *testing.T) {
	p := open(t)
	flood, other := p.For(1), p.For(2)
	over := make(chan struct{})
	started := make(chan struct{}, 1)
	var all sync.WaitGroup
	for session := range 1000 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				text := fmt.Sprintf("select a%d_%d from t", session, n)
				flood.Study([]byte(text), text)
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	<-started
	var longest time.Duration
	for n := range 50 {
		text := fmt.Sprintf("select other%d from t", n)
		began := time.Now()
		if m := other.Study([]byte(text), text).(*sql.Meaning); m.Unclear != "" {
			t.Errorf("statement %d of the other workload: %s", n, m.Unclear)
		}
		longest = max(longest, time.Since(began))
	}
	close(over)
	all.Wait()
	t.Logf("the other workload waited %v at most", longest)
}
