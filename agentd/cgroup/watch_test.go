package cgroup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/internal/lab"
)

func TestWatchReportsCgroupsAsTheyComeAndGo(t *testing.T) {
	root := lab.NewCgroup(t)
	early := root.Child(t, "early").Child(t, "inner")
	events, err := cgroup.Watch(t.Context(), root.Path)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, events, cgroup.Event{Dir: filepath.Dir(early.Path)}, cgroup.Event{Dir: early.Path})

	late := early.Child(t, "late")
	expect(t, events, cgroup.Event{Dir: late.Path})
	if err := os.Remove(late.Path); err != nil {
		t.Fatal(err)
	}
	expect(t, events, cgroup.Event{Dir: late.Path, Gone: true})
	early.Child(t, "late")
	expect(t, events, cgroup.Event{Dir: late.Path})
}

// A tree that is made faster than it is watched is reported all the same, and
// the state at the end is the one that the events lead to.
func TestWatchMissesNothingThatStays(t *testing.T) {
	root := lab.NewCgroup(t)
	events, err := cgroup.Watch(t.Context(), root.Path)
	if err != nil {
		t.Fatal(err)
	}
	const trees, depth = 50, 4
	want := map[string]bool{}
	for i := range trees {
		dir := root.Path
		for range depth {
			dir = filepath.Join(dir, fmt.Sprint(i))
			want[dir] = true
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			top := filepath.Join(root.Path, fmt.Sprint(i))
			if err := cgroup.Remove(top); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil { // again, and another
				t.Fatal(err)
			}
		}
	}
	end := root.Child(t, "end")
	got := map[string]bool{}
	for e := range within(t, events) {
		if e.Dir == end.Path {
			break
		}
		if got[e.Dir] != e.Gone {
			t.Errorf("%s: gone is %v, but it was there: %v", e.Dir, e.Gone, got[e.Dir])
		}
		got[e.Dir] = !e.Gone
	}
	for dir := range want {
		if !got[dir] {
			t.Errorf("%s was not reported", dir)
		}
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	events, err := cgroup.Watch(ctx, lab.NewCgroup(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for e := range within(t, events) {
		t.Errorf("event %+v, want none", e)
	}
}

// within passes on what comes within ten seconds.
func within(t *testing.T, events <-chan cgroup.Event) func(func(cgroup.Event) bool) {
	return func(yield func(cgroup.Event) bool) {
		end := time.After(10 * time.Second)
		for {
			select {
			case e, ok := <-events:
				if !ok || !yield(e) {
					return
				}
			case <-end:
				t.Fatal("no more events within ten seconds")
			}
		}
	}
}

func expect(t *testing.T, events <-chan cgroup.Event, want ...cgroup.Event) {
	t.Helper()
	for got := range within(t, events) {
		if got != want[0] {
			t.Fatalf("event %+v, want %+v", got, want[0])
		}
		if want = want[1:]; len(want) == 0 {
			return
		}
	}
	t.Fatalf("the events ended, want %+v", want)
}
