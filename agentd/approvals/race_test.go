package approvals_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
)

// A hundred statements are held at once, and whatever can happen to them does, in
// any order and from everywhere: each runs at most once, by one grant that was
// recorded, and none without.
func TestEachGrantIsUsedOnceWhateverHappens(t *testing.T) {
	for round := range uint64(10) {
		s := newScene(t, func(o *approvals.Options) {
			o.File, o.Keep = filepath.Join(t.TempDir(), "approvals.json"), 10_000
		})
		h := &holding{scene: s, granted: map[string]bool{}, over: make(chan struct{})}
		var sessions, people sync.WaitGroup
		for i := range 100 {
			random := rand.New(rand.NewPCG(round, uint64(i)))
			sessions.Go(func() { h.hold(random, i) })
		}
		for i := range 8 {
			random := rand.New(rand.NewPCG(round, 1000+uint64(i)))
			people.Go(func() { h.decide(random, i) })
		}
		sessions.Wait()
		close(h.over)
		people.Wait()
		if got, most := h.ran.Load(), int64(len(h.granted)); got > most {
			t.Errorf("%d ran by %d grants", got, most)
		}
		uses := 0
		list, _ := s.List(true)
		for _, r := range list {
			if r.State == approvals.Pending {
				t.Errorf("%s is pending though nobody waits", r.ID)
			}
			if r.Uses > 1 || r.Uses == 1 && !h.granted[r.ID] {
				t.Errorf("%s was used %d times, granted: %v", r.ID, r.Uses, h.granted[r.ID])
			}
			uses += r.Uses
		}
		if got := int(h.ran.Load()); got != uses {
			t.Errorf("%d ran, %d were used", got, uses)
		}
		if c := s.Counts(); c.Pending != 0 {
			t.Errorf("%d are counted as pending", c.Pending)
		}
		if err := s.Close("over"); err != nil {
			t.Error(err)
		}
	}
}

// A holding is many sessions that wait, and people.
type holding struct {
	*scene
	ran  atomic.Int64  // statements
	over chan struct{} // closed when no session is left

	mu      sync.Mutex
	granted map[string]bool
}

// hold is one session with a few statements, some the same as others'.
func (h *holding) hold(random *rand.Rand, i int) {
	for seq := range uint64(3) {
		q := question(fmt.Sprint("s", i), seq, fmt.Sprint("delete from ", random.IntN(20)))
		q.Open = random.IntN(4) == 0
		q.Terms.Need = 1 + random.IntN(2)
		for try := 0; ; try++ {
			got := h.Consult(q)
			if got.State == approvals.Granted {
				h.ran.Add(1)
			}
			if got.State != approvals.Pending || try == 5 {
				h.Withdraw(got.ID, "tried enough")
				break
			}
			resumed := make(chan struct{})
			h.Wait(got.ID, func() { close(resumed) })
			switch random.IntN(8) {
			case 0:
				h.Withdraw(got.ID, "the client has disconnected")
			case 1:
				h.clock.pass(time.Minute)
			}
			<-resumed // somebody decides, or time is over
		}
	}
}

// decide is a person who says yes and no until all sessions are over.
func (h *holding) decide(random *rand.Rand, i int) {
	me := person(uint32(1000+i), "", "dba")
	for {
		list, version := h.List(false)
		if len(list) == 0 {
			select {
			case <-h.Changed(version):
				continue
			case <-h.over:
				return
			}
		}
		r := list[random.IntN(len(list))]
		grant := random.IntN(10) > 0
		after, err := h.Vote(r.ID, grant, me, "because", r.Shown)
		switch {
		case errors.Is(err, approvals.ErrOver), errors.Is(err, approvals.ErrBarred), errors.Is(err, approvals.ErrUnknown):
			if random.IntN(4) == 0 {
				h.clock.pass(20 * time.Second)
			}
		case err != nil:
			panic(err)
		case after.State == approvals.Granted || after.State == approvals.Used:
			h.mu.Lock()
			h.granted[after.ID] = true
			h.mu.Unlock()
		}
	}
}
