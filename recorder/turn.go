package recorder

import (
	"encoding/binary"
	"time"
)

// A frame is four bytes of length, four of checksum, and a payload: a zero
// byte and the record in JSON.
const (
	frameHead = 8
	maxFrame  = 4 << 20 // longest payload; a longer length is no frame
)

// Every record starts the same way, so that its index and the hash of its
// predecessor can be filled in when they are known.
const (
	recordHead = `{"i":               ,"prev":"00000000000000000000000000000000","type":"`
	indexAt    = len(`{"i":`)
	indexWidth = 15
	prevAt     = indexAt + indexWidth + len(`,"prev":"`)
	prevWidth  = 32 // hex digits: half of a leaf hash
)

// maxTurn is how large a turn's buffer may be and still be kept for reuse.
const maxTurn = 4 << 20

// A Turn holds records that wait to be committed together. It belongs to one
// goroutine; its zero value is ready.
type Turn struct {
	buf     []byte // frames that chain.seal completes
	records int64
	start   int  // of the frame being built
	asks    bool // some are not ends

	raw    [][2]int // room for places of values
	second int64    // of the time in stamp
	stamp  [20]byte // "2006-01-02T15:04:05."
}

// Empty reports whether nothing waits.
func (t *Turn) Empty() bool { return t.records == 0 }

// Len returns the bytes of the records that wait.
func (t *Turn) Len() int { return len(t.buf) }

// reset empties t and keeps its buffer.
func (t *Turn) reset() {
	t.records, t.asks = 0, false
	t.buf = t.buf[:0]
	if cap(t.buf) > maxTurn {
		t.buf = nil
	}
}

// open starts a record. Its caller appends the record's fields to t.buf, each
// with a comma before it, and calls close.
func (t *Turn) open(kind string, now time.Time) {
	t.start = len(t.buf)
	t.asks = t.asks || !ends(kind)
	t.buf = append(t.buf, "\x00\x00\x00\x00\x00\x00\x00\x00\x00"+recordHead...)
	t.buf = append(t.buf, kind...)
	t.buf = append(t.buf, `","time":"`...)
	t.appendTime(now)
	t.buf = append(t.buf, '"')
}

// ends reports whether records of a kind say what came of something. On a full
// disk there is the reserve for those, and for no others.
func ends(kind string) bool {
	switch kind {
	case "outcome", "close", "interrupted":
		return true
	}
	return false
}

// close ends the record that open started.
func (t *Turn) close() {
	t.buf = append(t.buf, '}')
	binary.LittleEndian.PutUint32(t.buf[t.start:], uint32(len(t.buf)-t.start-frameHead))
	t.records++
}

// appendTime appends now in RFC 3339 with nine decimals. Records of one second
// share their formatting.
func (t *Turn) appendTime(now time.Time) {
	if second := now.Unix(); second != t.second || t.stamp[0] == 0 {
		t.second = second
		now.UTC().AppendFormat(t.stamp[:0], "2006-01-02T15:04:05.")
	}
	t.buf = append(t.buf, t.stamp[:]...)
	ns := now.Nanosecond()
	t.buf = append(t.buf, "000000000Z"...)
	for i := len(t.buf) - 2; ns > 0; i-- {
		t.buf[i] = byte('0' + ns%10)
		ns /= 10
	}
}
