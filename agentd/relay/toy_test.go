package relay_test

import (
	"bytes"
	"errors"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// toy is a protocol of lines. Every line of the client is asked about, but
// those that begin with "-" pass; the server's lines pass, a line "data N" is
// followed by N bytes that pass without being looked at, and a line that begins
// with "result" is asked about. A line "wait" of the client waits for the
// server's next one, and one that begins with "study", of either side, takes a
// study.
type toy struct {
	study  func()
	knows  [2]bool // the study of the line at the front is over
	seq    uint64
	heard  bool // the server has said something
	failed bool // it has said that it skips what comes
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
	if bytes.HasPrefix(line, []byte("study")) && !t.knows[dir] {
		return decoders.Step{Op: decoders.Study, Study: func() {
			t.study()
			t.knows[dir] = true
		}}, nil
	}
	t.knows[dir] = false
	if dir == decoders.FromServer {
		t.heard = true
		t.failed = string(line) == "skip\n"
	}
	if dir == decoders.FromClient && !t.heard && string(line) == "wait\n" {
		return decoders.Step{Op: decoders.Wait}, nil
	}
	if bytes.HasPrefix(line, []byte("result")) {
		t.events[dir] = decoders.Event{Kind: decoders.Columns, Seq: t.seq, Text: line}
		return decoders.Step{Op: decoders.Ask, N: end, Event: &t.events[dir]}, nil
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

func (t *toy) Moot() bool { return t.failed }

func (t *toy) Waiting(r decoders.Refusal) []byte { return []byte("wait: " + r.Reason + "\n") }

// strict refuses every line that begins with "no", and results with "secret" in
// them.
type strict struct{}

func (strict) Told(*decoders.Event) {}

func (strict) Decide(ev *decoders.Event) policy.Verdict {
	if bytes.HasPrefix(ev.Text, []byte("no")) || ev.Kind == decoders.Columns && bytes.Contains(ev.Text, []byte("secret")) {
		return policy.Verdict{Rule: "no-no", Reason: "it begins with no"}
	}
	return policy.Verdict{Outcome: policy.Forward, Rule: "default"}
}
