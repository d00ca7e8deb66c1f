package postgres_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/decoders/decodertest"
	"agentd.dev/decoders/postgres"
)

// A judge answers what a decoder asks: with a refusal, or masks, or neither.
type judge func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask)

func allow(*decoders.Event) (*decoders.Refusal, []decoders.Mask) { return nil, nil }

// A proxy stands between clients and the server and does what the decoder's
// steps say, byte for byte as decoders.go words it.
type proxy struct {
	want   decoders.Want
	judge  judge
	server string
	chunk  int                  // how many bytes reach the decoder at a time, 0 for as they come
	holds  func() time.Duration // how long a request waits before it is judged; nil: it does not
	listen net.Listener
	conns  sync.WaitGroup
	parked atomic.Int64 // how many requests went on after the server had let go of something

	mu     sync.Mutex // guards what follows
	events []seen
	errs   []error
	tape   []decodertest.Chunk // what both sides said, of the last connection
}

// seen is an event, copied.
type seen struct {
	dir     decoders.Dir
	ev      decoders.Event
	refused bool
}

func startProxy(t testing.TB, want decoders.Want, j judge, chunk int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: serverAddr(t), want: want, judge: j, chunk: chunk, listen: l}
	p.conns.Add(1)
	go p.accept()
	t.Cleanup(func() {
		l.Close()
		p.conns.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listen.Addr().String() }

func (p *proxy) accept() {
	defer p.conns.Done()
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.conns.Add(1)
		go func() {
			defer p.conns.Done()
			defer client.Close()
			server, err := net.Dial("tcp", p.server)
			if err != nil {
				p.fail(err)
				return
			}
			defer server.Close()
			p.fail(p.relay(client, server))
		}()
	}
}

func (p *proxy) fail(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
}

// failures returns the decoder errors so far.
func (p *proxy) failures() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]error(nil), p.errs...)
}

// seen returns the events of the given kinds so far.
func (p *proxy) seen(kinds decoders.Kinds) []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []seen
	for _, s := range p.events {
		if s.ev.Kind&kinds != 0 {
			out = append(out, s)
		}
	}
	return out
}

func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = nil
}

type packet struct {
	dir  decoders.Dir
	data []byte
	err  error
}

// relay runs one connection until either side has closed.
func (p *proxy) relay(client, server net.Conn) error {
	packets := make(chan packet)
	done := make(chan struct{})
	var readers sync.WaitGroup
	defer func() {
		client.Close()
		server.Close()
		close(done)
		readers.Wait()
	}()
	conns := [2]net.Conn{client, server}
	for dir, c := range conns {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for {
				buf := make([]byte, 64<<10)
				n, err := c.Read(buf)
				select {
				case packets <- packet{decoders.Dir(dir), buf[:n], err}:
				case <-done:
					return
				}
				if err != nil {
					return
				}
			}
		}()
	}
	legs := &legs{proxy: p, decoder: postgres.Protocol.New(p.want), conns: conns, resume: make(chan struct{}, 1)}
	for {
		var pkt packet
		select {
		case pkt = <-packets:
		case <-legs.resume:
			switch err := legs.goOn(); err {
			case nil, errClosed:
			default:
				return err
			}
			continue
		}
		chunk := p.chunk
		if chunk == 0 {
			chunk = max(len(pkt.data), 1)
		}
		for data := pkt.data; len(data) > 0; {
			n := min(chunk, len(data))
			if err := legs.feed(pkt.dir, data[:n]); err != nil {
				if err != errClosed {
					_, _ = client.Write(legs.decoder.Abort(decoders.Refusal{Reason: err.Error()}))
					return err
				}
				return nil
			}
			data = data[n:]
		}
		if pkt.err == io.EOF || pkt.err != nil {
			return nil
		}
	}
}

var errClosed = errors.New("closed on purpose")

type legs struct {
	proxy   *proxy
	decoder decoders.Decoder
	conns   [2]net.Conn
	in      [2][]byte
	rest    [2]int
	discard [2]bool
	held    *decoders.Step // of the client
	resume  chan struct{}
}

// wait holds a step of the client, as the relay does.
func (l *legs) wait(step decoders.Step) {
	ev := step.Event
	ev.Text = append([]byte(nil), ev.Text...)
	ev.Record = append([]byte(nil), ev.Record...)
	l.held = &step
	_ = ev.Binding.Digest()
	_ = l.decoder.(decoders.Waiter).Waiting(decoders.Refusal{})
	l.write(decoders.FromClient, l.decoder.(decoders.Parker).Park())
	time.AfterFunc(l.proxy.holds(), func() {
		select {
		case l.resume <- struct{}{}:
		default: // it was moot
		}
	})
}

// attend does what a held request wants when the server has said something.
func (l *legs) attend() error {
	if l.held == nil {
		return nil
	}
	l.write(decoders.FromClient, l.decoder.(decoders.Parker).Park())
	if !l.decoder.(decoders.Waiter).Moot() {
		return nil
	}
	l.held = nil
	a := l.decoder.Refuse(decoders.Refusal{})
	l.write(decoders.FromClient, a.Out)
	l.discard[decoders.FromClient] = true
	return l.pump(decoders.FromClient)
}

// goOn judges what was held.
func (l *legs) goOn() error {
	step := l.held
	if step == nil {
		return nil
	}
	l.held = nil
	refusal, _ := l.proxy.judge(step.Event)
	l.keep(decoders.FromClient, step.Event, refusal != nil)
	if refusal != nil {
		l.discard[decoders.FromClient] = true
		l.write(decoders.FromClient, l.decoder.Refuse(*refusal).Out)
	} else {
		again := l.decoder.(decoders.Parker).Unpark()
		if len(again) > 0 {
			l.proxy.parked.Add(1)
		}
		l.write(decoders.FromClient, again)
	}
	if err := l.pump(decoders.FromClient); err != nil {
		return err
	}
	return l.pump(decoders.FromServer)
}

func (l *legs) feed(dir decoders.Dir, data []byte) error {
	l.proxy.record(dir, data)
	l.in[dir] = append(l.in[dir], data...)
	if err := l.pump(dir); err != nil {
		return err
	}
	if err := l.pump(dir.Other()); err != nil {
		return err
	}
	return l.attend()
}

func (p *proxy) record(dir decoders.Dir, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.tape); n > 0 && p.tape[n-1].Dir == dir {
		p.tape[n-1].Bytes = append(p.tape[n-1].Bytes, data...)
		return
	}
	p.tape = append(p.tape, decodertest.Chunk{Dir: dir, Bytes: append([]byte(nil), data...)})
}

func (l *legs) write(dir decoders.Dir, b []byte) {
	if len(b) > 0 {
		_, _ = l.conns[dir.Other()].Write(b) // a peer that is gone shows when it is read
	}
}

func (l *legs) pump(dir decoders.Dir) error {
	for len(l.in[dir]) > 0 && !(l.held != nil && dir == decoders.FromClient) {
		if n := min(l.rest[dir], len(l.in[dir])); n > 0 {
			if !l.discard[dir] {
				l.write(dir, l.in[dir][:n])
			}
			l.rest[dir] -= n
			l.in[dir] = l.in[dir][n:]
			continue
		}
		lent := append([]byte(nil), l.in[dir]...)
		step, err := l.decoder.Next(dir, lent)
		if err != nil {
			return err
		}
		if step.Op == decoders.More || step.Op == decoders.Wait {
			if step.Op == decoders.More && step.N > 0 && step.N <= len(lent) {
				return fmt.Errorf("decoder wants %d bytes and has %d", step.N, len(lent))
			}
			return nil
		}
		if step.Op == decoders.Study {
			step.Study()
			continue
		}
		if step.N <= 0 {
			return fmt.Errorf("step without progress: %+v", step)
		}
		if err := l.take(dir, step); err != nil {
			return err
		}
		clear(lent)
	}
	return nil
}

// take does what a step says, but for moving its bytes.
func (l *legs) take(dir decoders.Dir, step decoders.Step) error {
	l.rest[dir], l.discard[dir] = step.N, step.Op == decoders.Drop
	if step.Op == decoders.Ask && l.proxy.holds != nil && step.Event.Binding != nil {
		l.wait(step)
		return nil
	}
	if step.Op == decoders.Ask {
		refusal, masks := l.proxy.judge(step.Event)
		l.keep(dir, step.Event, refusal != nil)
		if refusal != nil {
			l.discard[dir] = true
			a := l.decoder.Refuse(*refusal)
			l.write(dir, a.Out)
			l.write(dir.Other(), a.Back)
			if a.Close {
				return errClosed
			}
			return nil
		}
		if len(masks) > 0 {
			l.decoder.(decoders.Masker).Mask(masks)
		}
	} else if step.Event != nil {
		l.keep(dir, step.Event, false)
	}
	l.write(dir, step.Out)
	l.write(dir.Other(), step.Back)
	return nil
}

func (l *legs) keep(dir decoders.Dir, ev *decoders.Event, refused bool) {
	e := *ev
	e.Text = append([]byte(nil), ev.Text...)
	e.Record = append([]byte(nil), ev.Record...)
	e.Columns = append([]decoders.Column(nil), ev.Columns...)
	e.Result.By = append([]decoders.Count(nil), ev.Result.By...)
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	l.proxy.events = append(l.proxy.events, seen{dir, e, refused})
}
