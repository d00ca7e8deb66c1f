package decodertest

import (
	"errors"
	"testing"

	"agentd.dev/decoders"
)

// FuzzNext fuzzes a decoder with what two sides could say, starting from
// conversations. It fails on a panic and on a broken contract; an error of the
// decoder ends the input. Some requests are refused.
func FuzzNext(f *testing.F, p decoders.Protocol, cs []Conversation, o Options) {
	for _, c := range cs {
		f.Add(encode(c))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		asked := 0
		w := &Wire{Decoder: p.New(o.Want), Fields: p.Fields, MaxMore: o.maxMore(), Late: len(input)%2 == 0}
		w.Judge = func(*decoders.Event) Verdict {
			asked++
			if asked%3 == 0 {
				return Verdict{Refuse: &decoders.Refusal{Rule: "fuzz", Reason: "every third"}}
			}
			return Verdict{}
		}
		for len(input) >= 2 {
			dir, n := decoders.Dir(input[0]>>7), int(input[0]&0x7f)<<8|int(input[1])
			n = min(n, len(input)-2)
			if err := w.Send(dir, input[2:2+n]); err != nil {
				var fault *Fault
				if errors.As(err, &fault) {
					t.Fatal(fault)
				}
				return
			}
			input = input[2+n:]
		}
	})
}

// encode writes a conversation as FuzzNext's input: before each piece its
// direction in one bit and its length in fifteen.
func encode(c Conversation) []byte {
	const most = 1<<15 - 1
	var b []byte
	for _, chunk := range c.Chunks {
		for left := chunk.Bytes; len(left) > 0; {
			n := min(len(left), most)
			b = append(b, byte(chunk.Dir)<<7|byte(n>>8), byte(n))
			b = append(b, left[:n]...)
			left = left[n:]
		}
	}
	return b
}
