package relay_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// What is promised of sessions is promised of those that wait for the disk.
func TestDurableSessionsKeepEveryPromise(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"refused":        TestRefusedLineIsReplacedAndTheSessionGoesOn,
		"nothing leaves": TestNothingAskedAboutLeavesBeforeItsRecord,
		"no record":      TestNoRecordNoEffect,
		"unchanged":      TestBytesArriveUnchangedHoweverTheyAreCut,
		"half-close":     TestHalfCloseIsPassedOn,
		"slow reader":    TestSlowReaderThatSaidAllGetsEverything,
		"done":           TestDoneComesAfterTheLastRecord,
		"reset":          TestResetIsPassedOn,
		"stalled":        TestStalledPeersSlowNoOtherAndHoldBoundedMemory,
		"abort":          TestAbortNeverLandsInsideAMessage,
		"stop":           TestStopTellsEveryClient,
		"many":           TestManySessionsComeAndGo,
		"granted":        TestHeldRequestGoesOnOnceItIsGranted,
		"held again":     TestHeldRequestMayHaveToWaitAgain,
		"a hundred held": TestAHundredAreHeldAtOnce,
		"study":          TestStudyHoldsUpItsOwnDirectionAndNothingElse,
		"said all":       TestClientThatSaidAllDuringAStudyIsHeardOut,
	} {
		t.Run(name, test)
	}
}

// BenchmarkRecording is 64 sessions that each say a statement and wait for its
// answer: not recorded, recorded, and recorded on the disk. Run it with
// -benchtime 100000x.
func BenchmarkRecording(b *testing.B) {
	const sessions = 64
	var plain, plainCPU time.Duration // of a statement that is not recorded
	for _, way := range []struct {
		name    string
		line    string
		durable bool
	}{
		{"not recorded", "-select abalance from pgbench_accounts where aid = 4711\n", false},
		{"page", "select abalance from pgbench_accounts where aid = 4711\n", false},
		{"disk", "select abalance from pgbench_accounts where aid = 4711\n", true},
	} {
		b.Run(way.name, func(b *testing.B) {
			r := newRig(b)
			r.durable = way.durable
			clients := make([]*net.TCPConn, sessions)
			for i := range clients {
				var server *net.TCPConn
				clients[i], server, _ = r.session()
				go echo(server)
			}
			before, cpu := r.rec.Stats(), cpuTime(b)
			b.ResetTimer()
			var running sync.WaitGroup
			for i, c := range clients {
				running.Go(func() {
					in := bufio.NewReader(c)
					for range (b.N + i) / sessions {
						say(b, c, way.line)
						if _, err := in.ReadSlice('\n'); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			took := b.Elapsed() / time.Duration(b.N)
			b.StopTimer()
			cpu = (cpuTime(b) - cpu) / time.Duration(b.N)
			if way.line[0] == '-' {
				plain, plainCPU = took, cpu
			}
			b.ReportMetric(float64(time.Second)/float64(took), "statements/s")
			b.ReportMetric(float64(took)/float64(plain), "x-unrecorded")
			b.ReportMetric(float64(cpu)/1e3, "cpu-µs") // of clients, servers and relay
			b.ReportMetric(float64(cpu-plainCPU)/1e3, "cpu-µs-more")
			if syncs := r.rec.Stats().Syncs - before.Syncs; way.durable && syncs > 0 {
				b.ReportMetric(float64(b.N)/float64(syncs), "statements/sync")
				b.ReportMetric(float64(r.rec.Stats().SyncTime-before.SyncTime)/float64(syncs)/1e3, "µs/sync")
			}
		})
	}
}

// echo answers each line with a short one.
func echo(c *net.TCPConn) {
	in := bufio.NewReader(c)
	for {
		if _, err := in.ReadSlice('\n'); err != nil {
			return
		}
		if _, err := io.WriteString(c, fmt.Sprintln("-4711")); err != nil {
			return
		}
	}
}
