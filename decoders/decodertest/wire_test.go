package decodertest_test

import (
	"errors"
	"slices"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/decodertest"
)

// scripted gives one step after another, whatever the bytes.
type scripted struct {
	steps [2][]decoders.Step
	masks []decoders.Mask
}

func (s *scripted) Next(dir decoders.Dir, _ []byte) (decoders.Step, error) {
	if len(s.steps[dir]) == 0 {
		return decoders.Step{Op: decoders.More}, nil
	}
	step := s.steps[dir][0]
	s.steps[dir] = s.steps[dir][1:]
	return step, nil
}

func (s *scripted) Refuse(decoders.Refusal) decoders.Answer {
	return decoders.Answer{Out: []byte("[out]"), Back: []byte("[back]")}
}
func (s *scripted) Abort(decoders.Refusal) []byte { return nil }
func (s *scripted) Mask(m []decoders.Mask)        { s.masks = m }

func TestTheWireDoesWhatStepsSay(t *testing.T) {
	ask := &decoders.Event{Kind: decoders.Request}
	for _, tt := range []struct {
		name           string
		client, server []decoders.Step
		refuse         bool
		toServer       string
		toClient       string
	}{
		{name: "pass beyond the buffer", client: []decoders.Step{{Op: decoders.Pass, N: 5}}, toServer: "abcde"},
		{name: "drop beyond the buffer", client: []decoders.Step{{Op: decoders.Drop, N: 4}, {Op: decoders.Pass, N: 2}}, toServer: "ef"},
		{name: "out goes first", client: []decoders.Step{{Op: decoders.Pass, N: 6, Out: []byte("<")}}, toServer: "<abcdef"},
		{name: "out in place of what is dropped", client: []decoders.Step{{Op: decoders.Drop, N: 6, Out: []byte("x"), Back: []byte("y")}}, toServer: "x", toClient: "y"},
		{name: "an ask that is allowed", client: []decoders.Step{{Op: decoders.Ask, N: 6, Event: ask, Out: []byte("<")}}, toServer: "<abcdef"},
		{name: "an ask that is refused", client: []decoders.Step{{Op: decoders.Ask, N: 4, Event: ask, Out: []byte("<")}, {Op: decoders.Pass, N: 2}}, refuse: true, toServer: "[out]ef", toClient: "[back]"},
		{name: "wait until the other side was looked at", client: []decoders.Step{{Op: decoders.Wait}, {Op: decoders.Pass, N: 6}}, server: []decoders.Step{{Op: decoders.Pass, N: 1}}, toServer: "abcdef", toClient: "s"},
		{name: "a study takes no bytes", client: []decoders.Step{{Op: decoders.Study, Study: func() {}}, {Op: decoders.Pass, N: 6}}, toServer: "abcdef"},
		{name: "wait for ever", client: []decoders.Step{{Op: decoders.Wait}, {Op: decoders.Pass, N: 6}}},
	} {
		w := decodertest.Wire{Decoder: &scripted{steps: [2][]decoders.Step{tt.client, tt.server}}}
		w.Judge = func(*decoders.Event) decodertest.Verdict {
			if tt.refuse {
				return decodertest.Verdict{Refuse: &decoders.Refusal{}}
			}
			return decodertest.Verdict{}
		}
		said := []decodertest.Chunk{decodertest.Client("abc"), decodertest.Client("def")}
		if tt.server != nil {
			said = append(said, decodertest.Server("s"))
		}
		for _, c := range said {
			if err := w.Send(c.Dir, c.Bytes); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if got := string(w.Out[decoders.FromClient]); got != tt.toServer {
			t.Errorf("%s: the server got %q, want %q", tt.name, got, tt.toServer)
		}
		if got := string(w.Out[decoders.FromServer]); got != tt.toClient {
			t.Errorf("%s: the client got %q, want %q", tt.name, got, tt.toClient)
		}
	}
}

func TestTheWireFaultsStudiesThatAreNone(t *testing.T) {
	study := decoders.Step{Op: decoders.Study, Study: func() {}}
	for name, steps := range map[string][]decoders.Step{
		"nothing to study": {{Op: decoders.Study}},
		"bytes":            {{Op: decoders.Study, Study: func() {}, N: 1}},
		"no end of it":     slices.Repeat([]decoders.Step{study}, 100),
	} {
		w := decodertest.Wire{Decoder: &scripted{steps: [2][]decoders.Step{steps}}}
		var f *decodertest.Fault
		if err := w.Send(decoders.FromClient, []byte("a")); !errors.As(err, &f) || f.Promise != 4 {
			t.Errorf("%s: got %v, want a fault of promise 4", name, err)
		}
	}
}

func TestTheWireHandsMasksToTheDecoder(t *testing.T) {
	s := &scripted{steps: [2][]decoders.Step{1: {{Op: decoders.Ask, N: 1, Event: &decoders.Event{Kind: decoders.Columns}}}}}
	w := decodertest.Wire{Decoder: s, Judge: func(*decoders.Event) decodertest.Verdict {
		return decodertest.Verdict{Masks: []decoders.Mask{{Index: 3}}}
	}}
	if err := w.Send(decoders.FromServer, []byte("r")); err != nil {
		t.Fatal(err)
	}
	if len(s.masks) != 1 || s.masks[0].Index != 3 {
		t.Errorf("got masks %v, want that of column 3", s.masks)
	}
}
