package recorder

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// stored holds a tree's hashes as package tlog stores them.
type stored []tlog.Hash

func (s stored) ReadHashes(at []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(at))
	for i, n := range at {
		hashes[i] = s[n]
	}
	return hashes, nil
}

func TestTheTreeIsThatOfTlog(t *testing.T) {
	var all stored
	var got tree
	for n := range int64(600) {
		want, err := tlog.TreeHash(n, all)
		if err != nil {
			t.Fatal(err)
		}
		if got.root() != want {
			t.Fatalf("size %d: got %v, want %v", n, got.root(), want)
		}
		again, ok := treeFrom(n, got.appendFrontier(nil))
		if !ok || again.root() != want {
			t.Fatalf("size %d: a tree from its frontier: got %v, %v", n, again.root(), ok)
		}
		data := fmt.Appendf(nil, "record %d", n)
		hashes, err := tlog.StoredHashes(n, data, all)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hashes...)
		got.add(tlog.RecordHash(data))
	}
}

func TestARecordsChecksumAndLeafAreOfTheSameBytes(t *testing.T) {
	l := begin(t)
	l.work(t, "S1", 3)
	l.Close()
	var all stored
	records := payloads(t, l.opts.Dir)
	for n, p := range records {
		hashes, err := tlog.StoredHashes(int64(n), p, all)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hashes...)
	}
	want, err := tlog.TreeHash(int64(len(records)), all)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.log.tree.root(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
