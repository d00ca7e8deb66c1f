package usage

// Counts are what was used.
type counts struct{ Statements, Rows, Bytes, Affected, Denials int64 }

func (c *counts) add(o *counts) {
	c.Statements += o.Statements
	c.Rows += o.Rows
	c.Bytes += o.Bytes
	c.Affected += o.Affected
	c.Denials += o.Denials
}

func (c *counts) sub(o *counts) {
	c.Statements -= o.Statements
	c.Rows -= o.Rows
	c.Bytes -= o.Bytes
	c.Affected -= o.Affected
	c.Denials -= o.Denials
}

// Spans are the windows, by what conditions call them. Each has one bucket more
// than its time takes, so that it is never shorter.
var spans = [...]struct {
	name    string
	width   int64 // of a bucket, in seconds
	buckets int64
}{
	{"minute", 5, 12 + 1},
	{"hour", 60, 60 + 1},
	{"day", 30 * 60, 48 + 1},
}

// A window is a ring of buckets, by time.
type window struct {
	width   int64
	buckets []counts // of time t: t/width modulo their number
	last    int64    // t/width of the newest
	end     int64    // when that one ends, so that few times are divided
	newest  *counts
	sum     counts // of all
}

func newWindow(i int) window {
	w := window{width: spans[i].width, buckets: make([]counts, spans[i].buckets)}
	w.begin(0)
	return w
}

// begin makes a bucket the newest.
func (w *window) begin(index int64) {
	w.last, w.end = index, (index+1)*w.width
	w.newest = &w.buckets[index%int64(len(w.buckets))]
}

// advance lets go of what is too old at a time, in seconds. A clock that is set
// back changes nothing: what comes then counts as newest.
func (w *window) advance(t int64) {
	if t < w.end {
		return
	}
	now := t / w.width
	switch n := int64(len(w.buckets)); {
	case now-w.last >= n:
		clear(w.buckets)
		w.sum = counts{}
	default:
		for i := w.last + 1; i <= now; i++ {
			b := &w.buckets[i%n]
			w.sum.sub(b)
			*b = counts{}
		}
	}
	w.begin(now)
}

func (w *window) add(t int64, c *counts) {
	w.advance(t)
	w.newest.add(c)
	w.sum.add(c)
}

// addAt adds what was counted in a bucket elsewhere, unless it is too old at a
// time. What is of later, by a clock that was set back since, is of now.
func (w *window) addAt(index, now int64, c *counts) {
	w.advance(now)
	index = min(index, w.last)
	if index >= 0 && index > w.last-int64(len(w.buckets)) {
		w.buckets[index%int64(len(w.buckets))].add(c)
		w.sum.add(c)
	}
}

// from is since when a window counts at a time.
func (w *window) from(t int64) int64 {
	return (t/w.width - int64(len(w.buckets)) + 1) * w.width
}
