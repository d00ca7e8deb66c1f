package agentd

import (
	"strconv"
	"strings"

	"agentd.dev/policy/document"
)

// A Floor is how much of the disk must stay free for a session to begin: a
// number of bytes, or hundredths of the filesystem that the log is on.
type Floor struct {
	Size    Size
	Percent float64
}

// read reads 256MiB, or 5%.
func (f *Floor) read(v document.Value) {
	word, ok := v.Word()
	digits, percent := strings.CutSuffix(word, "%")
	if !ok || !percent {
		f.Percent = 0
		size(&f.Size, 1, 1<<50)(v)
		return
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n > 0 && n <= 90) {
		v.Problem("%q: write a share of the disk as 5%%, up to 90%%, or a size as 256MiB", word)
		return
	}
	*f = Floor{Percent: n}
}

// Durability is what the record of a statement has to survive before the
// statement reaches its target.
type Durability uint8

const (
	DurablePage Durability = iota // agentd's death: it is in the page cache
	DurableDisk                   // the machine's: it is on the disk
)

// durable reports whether statements to a target wait for the disk. One that is
// not among them has no configuration that could ask for it.
func (t Targets) durable(name string) bool {
	c, _ := t.named(name)
	return c.Durability == DurableDisk
}
