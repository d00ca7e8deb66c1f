package decodertest_test

import (
	"bytes"
	"fmt"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/decodertest"
)

var conversations = []decodertest.Conversation{{
	Name: "greeting",
	Chunks: []decodertest.Chunk{
		decodertest.Client("hello there\n-aside\nhow are you?\n"),
		decodertest.Server("hi\nfine, and a rather longer answer than sixty-four bytes, to be sure\n"),
		decodertest.Client("good\n"),
		decodertest.Server("good\n"),
	},
	Loop: []decodertest.Chunk{
		decodertest.Client("-aside\nagain\n"),
		decodertest.Server("again\n"),
	},
}}

var options = decodertest.Options{
	MaxMore: 4096,
	Server:  func() func([]byte) []byte { return answerEach },
	Refused: func(_ *decoders.Event, client, server []byte) error {
		if bytes.Count(client, []byte("refused\n")) != 1 || bytes.Count(server, []byte("nonsense\n")) != 1 {
			return fmt.Errorf("the client got %q and the server %q", client, server)
		}
		return nil
	},
}

// answerEach is the server of the protocol of lines.
func answerEach(sent []byte) (said []byte) {
	for line := range bytes.Lines(sent) {
		switch {
		case line[0] == '-':
		case bytes.HasPrefix(line, []byte("nonsense")):
			said = append(said, "what?\n"...)
		default:
			said = append(said, "yes\n"...)
		}
	}
	return said
}

func TestADecoderThatKeepsItsPromisesPasses(t *testing.T) {
	decodertest.Run(t, protocol(""), conversations, options)
}

func TestADecoderMayAnswerARefusalByClosing(t *testing.T) {
	o := options
	o.Server = nil
	decodertest.Run(t, protocol("closes"), conversations, o)
}

func TestEachBrokenPromiseIsFound(t *testing.T) {
	for _, tt := range []struct {
		broken  string
		promise int
	}{
		{"cuts", 1},
		{"adds", 2},
		{"keeps", 3},
		{"shares", 3},
		{"scribbles", 3},
		{"stands", 4},
		{"stutter", 4},
		{"greedy", 4},
		{"forgets", 5},
		{"swallows", 5},
		{"panics", 6},
		{"allocates", 7},
	} {
		t.Run(tt.broken, func(t *testing.T) {
			faults := decodertest.Check(protocol(tt.broken), conversations, options)
			var got []int
			for _, f := range faults {
				t.Log(f)
				got = append(got, f.Promise)
			}
			if len(got) == 0 || got[0] != tt.promise {
				t.Errorf("a decoder that %s breaks promises %v, want %d first", tt.broken, got, tt.promise)
			}
		})
	}
}

func TestARefusalThatKeepsTheSessionNeedsAServer(t *testing.T) {
	o := options
	o.Server = nil
	faults := decodertest.Check(protocol(""), conversations, o)
	if len(faults) != 1 || faults[0].Promise != 5 {
		t.Errorf("got %v, want one fault of promise 5", faults)
	}
}

func TestAProtocolWithoutALoopIsNotMeasured(t *testing.T) {
	c := conversations[0]
	c.Loop = nil
	faults := decodertest.Check(protocol(""), []decodertest.Conversation{c}, options)
	if len(faults) != 1 || faults[0].Promise != 7 {
		t.Errorf("got %v, want one fault of promise 7", faults)
	}
}

func TestConversationsAreReadFromText(t *testing.T) {
	got, err := decodertest.Parse("c", "# a greeting\n> \"hello\\n\"\n> \"you\\x00\"\n\n< `hi`\nloop\n> \"again\"\n")
	if err != nil {
		t.Fatal(err)
	}
	want := decodertest.Conversation{
		Name:   "c",
		Chunks: []decodertest.Chunk{decodertest.Client("hello\nyou\x00"), decodertest.Server("hi")},
		Loop:   []decodertest.Chunk{decodertest.Client("again")},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"hello", "> hello", `< "half`} {
		if _, err := decodertest.Parse("c", "\n"+bad); err == nil {
			t.Errorf("Parse(%q) succeeded", bad)
		} else if got := err.Error()[:4]; got != "c:2:" {
			t.Errorf("Parse(%q) names %q, want c:2:", bad, got)
		}
	}
}

func FuzzNextOfLines(f *testing.F) {
	decodertest.FuzzNext(f, protocol(""), conversations, options)
}
