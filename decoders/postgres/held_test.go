package postgres_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
)

// Each request waits a moment, and then runs or is refused: what the client
// hears is what it would have without, whatever the server had to let go of and
// take up meanwhile.
func TestHeldRequestsLeaveEverySessionAsItWouldBe(t *testing.T) {
	direct, relayed := twins(t)
	for _, tt := range []struct {
		name  string
		want  decoders.Want
		most  time.Duration
		seeds uint64
		least int64 // how many make the server let go of something
	}{
		{"for no time", decoders.Want{}, 0, 100, 0},
		{"for a moment", decoders.Want{}, 4 * time.Millisecond, 200, 50},
		{"masking", decoders.Want{Columns: []decoders.ColumnName{{Schema: "public", Table: "t", Column: "note"}}}, 2 * time.Millisecond, 50, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Bindings, tt.want.Grammar = true, newGrammar()
			p := startProxy(t, tt.want, refuseMarked, 0)
			p.holds = func() time.Duration { return rand.N(tt.most + 1) }
			for seed := range tt.seeds {
				names, failing, marked := pipeline(seed)
				want := converse(t, serverAddr(t), direct, failing)
				got := converse(t, p.addr(), relayed, marked)
				if !compare(t, got, want) {
					t.Fatalf("pipeline %d: %s", seed, strings.Join(names, ", "))
				}
			}
			if got := p.parked.Load(); got < tt.least || got > 0 && len(tt.want.Columns) > 0 {
				t.Errorf("for %d requests the server has let go of something", got)
			}
			for _, err := range p.failures() {
				t.Error(err)
			}
		})
	}
}
