package relay_test

import (
	"bytes"
	"errors"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// toy is a protocol of lines. Every line of the client is asked about, but
// those that begin with "-" pass; the server's lines pass, a line "data N" is
// followed by N bytes that pass without being looked at, and "bye" is told.
type toy struct {
	seq    uint64
	events [2]decoders.Event
}

const toyMax = 8 << 20

var errBad = errors.New("a line began with a zero byte")

func (t *toy) Next(dir decoders.Dir, buf []byte) (decoders.Step, error) {
	if buf[0] == 0 {
		return decoders.Step{}, errBad
	}
	end := bytes.IndexByte(buf, '\n') + 1
	if end == 0 {
		if len(buf) > toyMax {
			return decoders.Step{}, errors.New("line too long")
		}
		return decoders.Step{Op: decoders.More}, nil
	}
	line := buf[:end]
	if n, ok := bytes.CutPrefix(line, []byte("data ")); ok {
		size := 0
		for _, c := range bytes.TrimSpace(n) {
			size = 10*size + int(c-'0')
		}
		return decoders.Step{Op: decoders.Pass, N: end + size}, nil
	}
	if dir == decoders.FromServer || line[0] == '-' {
		return decoders.Step{Op: decoders.Pass, N: end}, nil
	}
	t.seq++
	t.events[dir] = decoders.Event{Kind: decoders.Request, Seq: t.seq, Text: line, Record: line}
	return decoders.Step{Op: decoders.Ask, N: end, Event: &t.events[dir]}, nil
}

func (t *toy) Refuse(r decoders.Refusal) decoders.Answer {
	return decoders.Answer{Out: []byte("refused\n")}
}

func (t *toy) Abort(r decoders.Refusal) []byte { return []byte("abort: " + r.Reason + "\n") }

// strict refuses every line that begins with "no".
type strict struct{}

func (strict) Decide(ev *decoders.Event) policy.Verdict {
	if bytes.HasPrefix(ev.Text, []byte("no")) {
		return policy.Verdict{Rule: "no-no", Reason: "it begins with no"}
	}
	return policy.Verdict{Outcome: policy.Forward, Rule: "default"}
}
