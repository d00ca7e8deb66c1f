package recorder

import (
	"encoding/base64"
	"fmt"
	"time"
)

// The records that belong to no session.

// startRecord says that recording starts, and from which checkpoint: one that
// vanishes later is missed.
func startRecord(t *Turn, now time.Time, opts Options, last checkpoint, continues bool) {
	t.open("start", now)
	t.str("node", opts.Node)
	t.int("heartbeat", int64(opts.Heartbeat))
	t.int("signed", last.Size)
	if last.Size > 0 {
		t.str("root", base64.StdEncoding.EncodeToString(last.Root[:]))
	}
	t.flag("continues", continues)
	t.close()
}

// sessionRecord says of a session what its own process no longer can, or what
// became of that.
func sessionRecord(t *Turn, now time.Time, kind, session string) {
	t.open(kind, now)
	t.str("session", session)
	t.close()
}

// heartbeatRecord says that nothing happened, so that nobody can say later that
// something did.
func heartbeatRecord(t *Turn, now time.Time) {
	t.open("heartbeat", now)
	t.close()
}

func stopRecord(t *Turn, now time.Time) {
	t.open("stop", now)
	t.close()
}

// recoveredRecord says what was cut off the end of a file.
func recoveredRecord(t *Turn, now time.Time, torn tornTail) {
	t.open("recovered", now)
	t.str("file", torn.File)
	t.int("offset", torn.Offset)
	t.int("bytes", torn.Bytes)
	t.str("aside", torn.Aside)
	t.close()
}

// A gap is a time in which nothing could be recorded.
type gap struct {
	since time.Time
	lost  int64 // records
	err   error
}

func gapRecord(t *Turn, now time.Time, g *gap) {
	t.open("gap", now)
	t.time("since", g.since)
	t.int("lost", g.lost)
	t.str("reason", g.err.Error())
	t.close()
}

func noteRecord(t *Turn, now time.Time, kind, text string, attrs []any) {
	t.open("note", now)
	t.str("kind", kind)
	t.str("text", text)
	t.object("attrs", func(attr func(key, value string)) {
		for i := 0; i < len(attrs); i += 2 {
			var value any = "(no value)"
			if i+1 < len(attrs) {
				value = attrs[i+1]
			}
			attr(fmt.Sprint(attrs[i]), fmt.Sprint(value))
		}
	})
	t.close()
}

// object appends a field that is an object of strings: what fields passes to
// attr, in that order.
func (t *Turn) object(key string, fields func(attr func(key, value string))) {
	t.key(key, "")
	t.buf = append(t.buf, '{')
	start := len(t.buf)
	fields(t.attr)
	if len(t.buf) > start { // each attribute brought a comma before it
		t.buf = append(t.buf[:start], t.buf[start+1:]...)
	}
	t.buf = append(t.buf, '}')
}

// attr appends a field whose name is data, too.
func (t *Turn) attr(key, value string) {
	t.buf = append(t.buf, `,"`...)
	t.buf, _ = appendEscaped(t.buf, []byte(key))
	t.buf = append(t.buf, `":"`...)
	if len(value) > maxField {
		value = value[:maxField]
	}
	t.buf, _ = appendEscaped(t.buf, []byte(value))
	t.buf = append(t.buf, '"')
}
