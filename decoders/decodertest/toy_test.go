package decodertest_test

import (
	"bytes"
	"errors"

	"agentd.dev/decoders"
)

// lines is a protocol of lines. A client's line is a request, unless it begins
// with "-", and the server answers each with a line. A refused request becomes
// "nonsense", and what the server says to that becomes the refusal. It breaks
// the promise that is named in broken.
type lines struct {
	broken string

	seq    uint64
	owed   []owed
	first  int // of owed that is not answered yet
	events [2]decoders.Event
	out    []byte
	kept   []byte // the newest request
	told   []byte // kept, for an outcome
	sink   string
}

type owed struct {
	seq     uint64
	refused bool
}

const longest = 1000

func (l *lines) Next(dir decoders.Dir, buf []byte) (decoders.Step, error) {
	end := bytes.IndexByte(buf, '\n') + 1
	if end == 0 && l.broken == "cuts" && dir == decoders.FromClient {
		end = len(buf)
	}
	switch {
	case end == 0 && len(buf) > longest && l.broken != "greedy":
		return decoders.Step{}, errors.New("line too long")
	case end == 0 && l.broken == "stutter":
		return decoders.Step{Op: decoders.More, N: len(buf)}, nil
	case end == 0:
		return decoders.Step{Op: decoders.More}, nil
	}
	switch l.broken {
	case "stands":
		return decoders.Step{Op: decoders.Pass}, nil
	case "scribbles":
		buf[0] |= 0x20
	case "panics":
		if buf[0] == 0xff {
			panic("a byte that nobody expected")
		}
	case "allocates":
		l.sink = string(buf[:end]) + "!"
	}
	if dir == decoders.FromServer {
		return l.answer(buf[:end]), nil
	}
	return l.request(buf[:end]), nil
}

func (l *lines) request(line []byte) decoders.Step {
	if line[0] == '-' {
		if l.broken == "adds" {
			return decoders.Step{Op: decoders.Pass, N: len(line), Out: []byte("+")}
		}
		return decoders.Step{Op: decoders.Pass, N: len(line)}
	}
	l.seq++
	if l.broken == "keeps" {
		l.kept = line
	} else {
		l.kept = append(l.kept[:0], line...)
	}
	l.owe(owed{seq: l.seq})
	ev := l.event(decoders.FromClient)
	*ev = decoders.Event{Kind: decoders.Request, Seq: l.seq, Text: line, Record: line}
	return decoders.Step{Op: decoders.Ask, N: len(line), Event: ev}
}

func (l *lines) answer(line []byte) decoders.Step {
	if l.first == len(l.owed) {
		return decoders.Step{Op: decoders.Pass, N: len(line)}
	}
	o := l.owed[l.first]
	l.first++
	l.told = append(l.told[:0], l.kept...)
	ev := l.event(decoders.FromServer)
	*ev = decoders.Event{Kind: decoders.Outcome, Seq: o.seq, Record: l.told}
	if o.refused {
		ev.Result.Code = "refused"
		l.out = append(l.out[:0], "refused\n"...)
		return decoders.Step{Op: decoders.Drop, N: len(line), Event: ev, Out: l.out}
	}
	return decoders.Step{Op: decoders.Pass, N: len(line), Event: ev}
}

func (l *lines) owe(o owed) {
	if l.first == len(l.owed) {
		l.owed, l.first = l.owed[:0], 0
	}
	l.owed = append(l.owed, o)
}

func (l *lines) event(dir decoders.Dir) *decoders.Event {
	if l.broken == "shares" {
		dir = 0
	}
	return &l.events[dir]
}

func (l *lines) Refuse(decoders.Refusal) decoders.Answer {
	last := len(l.owed) - 1
	switch l.broken {
	case "closes":
		return decoders.Answer{Close: true, Back: []byte("bye\n")}
	case "forgets":
		l.owed = l.owed[:last]
		return decoders.Answer{Out: []byte("nonsense\n")}
	case "swallows":
		return decoders.Answer{}
	}
	l.owed[last].refused = true
	return decoders.Answer{Out: []byte("nonsense\n")}
}

func (l *lines) Abort(decoders.Refusal) []byte { return nil }

// protocol is the protocol of lines with a decoder that is broken in one way.
func protocol(broken string) decoders.Protocol {
	return decoders.Protocol{
		Name: "lines",
		New:  func(decoders.Want) decoders.Decoder { return &lines{broken: broken} },
	}
}
