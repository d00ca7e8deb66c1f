package decodertest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"agentd.dev/decoders"
)

// sizes are what the bytes are cut into; 0 leaves chunks whole.
var sizes = []int{0, 1, 2, 3, 5, 7, 64}

// cutAnywhere checks promises 1, 3, 4 and 8: the events are the same for all
// sizes, whenever lent buffers are overwritten.
func (k *check) cutAnywhere() *Fault {
	var want [2][]string
	var shown []string
	for i, size := range sizes {
		for _, late := range []bool{false, true} {
			got, w, f := k.play(k.options.Want, size, late)
			switch {
			case f != nil:
				return f
			case i == 0 && !late:
				want, shown = got, w.Shown
			case !slices.Equal(w.Shown, shown):
				return fault(8, "what is shown differs in pieces of %d bytes:\n%s", size, difference([2][]string{w.Shown}, [2][]string{shown}))
			case late && size == 0 && !slices.Equal(got[0], want[0]), late && size == 0 && !slices.Equal(got[1], want[1]):
				return fault(3, "events differ when lent buffers are overwritten:\n%s", difference(got, want))
			case !slices.Equal(got[0], want[0]) || !slices.Equal(got[1], want[1]):
				return fault(1, "events differ in pieces of %d bytes:\n%s", size, difference(got, want))
			}
		}
	}
	return nil
}

// unchanged checks promise 2.
func (k *check) unchanged() *Fault {
	wants := []decoders.Want{{}, k.options.Want}
	switch {
	case k.conversation.Injected:
		return nil
	case k.options.Injects:
		wants = wants[:1]
	}
	for _, want := range wants {
		for _, size := range sizes {
			_, w, f := k.play(want, size, false)
			if f != nil {
				return f
			}
			for _, dir := range []decoders.Dir{decoders.FromClient, decoders.FromServer} {
				if got, want := w.Out[dir], k.conversation.whole(dir); !bytes.Equal(got, want) {
					return fault(2, "in pieces of %d bytes, of what the %s sent came out\n %q, want\n %q", size, dir, got, want)
				}
			}
		}
	}
	return nil
}

// play plays the conversation in pieces of size bytes, with everything
// allowed, and returns the events of each direction.
func (k *check) play(want decoders.Want, size int, late bool) (events [2][]string, w *Wire, f *Fault) {
	w = k.wire(want)
	w.Late = late
	w.Saw = func(d decoders.Dir, ev *decoders.Event) {
		events[d] = append(events[d], describe(ev, w.Fields))
	}
	for _, chunk := range k.conversation.Chunks {
		if err := send(w, chunk, size); err != nil {
			var f *Fault
			if errors.As(err, &f) {
				return events, w, f
			}
			return events, w, fault(1, "in pieces of %d bytes the decoder gives up: %v", size, err)
		}
	}
	return events, w, nil
}

func (k *check) wire(want decoders.Want) *Wire {
	return &Wire{Decoder: k.protocol.New(want), Fields: k.protocol.Fields, MaxMore: k.options.maxMore()}
}

// send sends a chunk in pieces of size bytes.
func send(w *Wire, c Chunk, size int) error {
	if size == 0 {
		size = max(1, len(c.Bytes))
	}
	for piece := range slices.Chunk(c.Bytes, size) {
		if err := w.Send(c.Dir, piece); err != nil {
			return err
		}
	}
	return nil
}

// difference shows the first event that got and want disagree on.
func difference(got, want [2][]string) string {
	for d := range want {
		for i := range max(len(got[d]), len(want[d])) {
			g, w := "nothing", "nothing"
			if i < len(got[d]) {
				g = got[d][i]
			}
			if i < len(want[d]) {
				w = want[d][i]
			}
			if g != w {
				return " got " + g + "\nwant " + w
			}
		}
	}
	return ""
}

// bounded checks the second half of promise 4: however a message that has
// begun goes on, the decoder does not ask for more and more.
func (k *check) bounded() *Fault {
	filler := max(1<<16, k.options.maxMore()/4)
	for _, cut := range k.cuts(8) {
		for _, fill := range []byte{0x00, 'a', 0xff} {
			w := k.wire(k.options.Want)
			dir, err := k.until(w, cut)
			junk := bytes.Repeat([]byte{fill}, filler)
			for n := 0; err == nil && n <= k.options.maxMore()+filler && !w.Closed; n += filler {
				if n > 0 && w.Pending(dir) == 0 {
					break // it passes, whatever comes
				}
				err = w.Send(dir, junk)
			}
			var f *Fault
			if errors.As(err, &f) {
				return f
			}
		}
	}
	return nil
}

// cuts returns up to n places in the conversation, as numbers of bytes.
func (k *check) cuts(n int) []int {
	total := len(k.conversation.whole(decoders.FromClient)) + len(k.conversation.whole(decoders.FromServer))
	var cuts []int
	for i := range n {
		cuts = append(cuts, 1+i*total/n)
	}
	return slices.Compact(cuts)
}

// until sends the first n bytes of the conversation, and returns the direction
// of the last.
func (k *check) until(w *Wire, n int) (decoders.Dir, error) {
	dir := decoders.FromClient
	for _, chunk := range k.conversation.Chunks {
		if n <= 0 {
			break
		}
		dir = chunk.Dir
		if err := w.Send(dir, chunk.Bytes[:min(n, len(chunk.Bytes))]); err != nil {
			return dir, err
		}
		n -= len(chunk.Bytes)
	}
	return dir, nil
}

// unbreakable checks promise 6 with damaged copies of the conversation, always
// the same ones. FuzzNext looks further.
func (k *check) unbreakable() *Fault {
	const rounds = 300
	random := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		w := k.wire(k.options.Want)
		for _, chunk := range k.conversation.Chunks {
			b := bytes.Clone(chunk.Bytes)
			if random.IntN(3) == 0 {
				b = damage(random, b)
			}
			if err := send(w, Chunk{chunk.Dir, b}, 1+random.IntN(100)); err != nil {
				var f *Fault
				if errors.As(err, &f) {
					return f
				}
				break
			}
		}
	}
	return nil
}

// damage changes, drops or adds bytes.
func damage(random *rand.Rand, b []byte) []byte {
	for range 1 + random.IntN(4) {
		if len(b) == 0 {
			return b
		}
		i := random.IntN(len(b))
		switch random.IntN(3) {
		case 0:
			b[i] = byte(random.Uint32())
		case 1:
			b = slices.Delete(b, i, i+random.IntN(len(b)-i+1))
		default:
			b = slices.Insert(b, i, byte(random.Uint32()), 0xff)
		}
	}
	return b
}

// allocationFree checks promise 7 on the conversation's loop, if it has one.
func (k *check) allocationFree() *Fault {
	if len(k.conversation.Loop) == 0 {
		return nil
	}
	w := k.wire(k.options.Want)
	for _, chunk := range k.conversation.Chunks {
		if err := w.Send(chunk.Dir, chunk.Bytes); err != nil {
			return asFault(7, err)
		}
	}
	var failed error
	rest := [2]int{w.legs[0].rest, w.legs[1].rest}
	allocs := testing.AllocsPerRun(100, func() {
		for _, chunk := range k.conversation.Loop {
			if err := pass(w.Decoder, chunk, &rest[chunk.Dir]); err != nil && failed == nil {
				failed = err
			}
		}
	})
	switch {
	case failed != nil:
		return fault(7, "in the loop: %v", failed)
	case allocs != 0:
		return fault(7, "the loop allocates %v times", allocs)
	}
	return nil
}

var errUnfinished = errors.New("a chunk of a loop must hold whole messages")

// pass plays a chunk of whole messages with everything allowed. It allocates
// nothing itself. Of the last step in this direction, rest bytes are to come.
func pass(d decoders.Decoder, c Chunk, rest *int) error {
	for b := c.Bytes; len(b) > 0; {
		if *rest == 0 {
			s, err := d.Next(c.Dir, b)
			switch {
			case err != nil:
				return err
			case s.Op == decoders.Study:
				s.Study()
				continue
			case s.Op == decoders.More, s.Op == decoders.Wait, s.N <= 0:
				return errUnfinished
			}
			*rest = s.N
		}
		n := min(*rest, len(b))
		*rest -= n
		b = b[n:]
	}
	return nil
}
