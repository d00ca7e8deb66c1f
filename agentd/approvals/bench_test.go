package approvals_test

import (
	"fmt"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
)

// What a statement costs its loop that was approved for a while, and that
// somebody is asked about, while a thousand others wait; without the record.
func BenchmarkConsult(b *testing.B) {
	s := newScene(b, func(o *approvals.Options) {
		o.PerWorkload, o.Pending = 1<<30, 1<<30
		o.Recorder = forgetful{}
	})
	for i := range 1000 {
		s.Consult(question("others", uint64(i), fmt.Sprint("delete from ", i)))
	}
	q := question("s1", 1, "delete from a")
	q.Terms.For = time.Hour
	if _, err := s.Vote(s.Consult(q).ID, true, alice, "", ""); err != nil {
		b.Fatal(err)
	}
	b.Run("granted", func(b *testing.B) {
		for range b.N {
			if got := s.Consult(q); got.State != approvals.Granted {
				b.Fatal(got.State)
			}
		}
	})
	b.Run("asked", func(b *testing.B) {
		for i := range b.N {
			q := question("s2", uint64(i), "delete from b")
			s.Withdraw(s.Consult(q).ID, "gone")
		}
	})
}

// forgetful records nothing.
type forgetful struct{}

func (forgetful) Note(string, string, ...any) error { return nil }
