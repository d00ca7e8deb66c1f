package postgres

import "agentd.dev/decoders"

// maxSlots bounds how many unanswered messages a client may have in flight;
// beyond it the client waits. The server keeps at most 8 kB of answers back
// (PQ_SEND_BUFFER_SIZE), the shortest answer has 5 bytes, and errors are sent
// at once: fewer slots than this are enough for it to have said something.
const maxSlots = 16 << 10

// Kinds of slots are the types of the client's messages that the server
// answers, and copyEnd, which it does not answer: it marks where the client
// said CopyDone or CopyFail before it was known whether a COPY is running.
const (
	query    = 'Q'
	parse    = 'P'
	bind     = 'B'
	describe = 'D'
	execute  = 'E'
	closing  = 'C'
	syncing  = 'S'
	function = 'F'
	copyEnd  = 'c'
)

// A slot is one message of the client that the server has not answered yet.
type slot struct {
	kind byte
	// void: the server will never answer: it discards everything after an
	// error until Sync, and Sync itself while it copies in.
	void bool
	// hidden: agentd sent it, and the client must not see the answer.
	hidden bool
	done   bool // an answer came that must precede ReadyForQuery; of Describe, the parameters
	told   bool // its outcome was told
	both   bool // of Describe: a statement, which is answered twice
	fed    bool // of Sync: data was sent before it that nobody had asked for yet

	seq     uint64            // of its event, 0 if it was not asked about
	refusal *decoders.Refusal // what the client is told in place of the server's error
	reading reading           // of the statement it runs

	statement *statement
	portal    *portal
	// What it changes once the server says yes: the meaning of a name.
	statements *entry[statement]
	portals    *entry[portal]

	epoch     uint64  // of Describe: when it was sent
	budget    *budget // what it may use, nil if that is not limited
	shape     *shape  // of Query: the result that is coming in
	completed int     // of Query: how many of its statements
	result    decoders.Result
	copied    int64 // rows of the COPY TO STDOUT that is coming in, one a message
}

// extended reports whether an error in the message makes the server discard
// everything until Sync.
func (s *slot) extended() bool {
	return s.kind == parse || s.kind == bind || s.kind == describe || s.kind == execute || s.kind == closing
}

// flushes reports whether the server answers up to here without being asked to
// by a Sync or Flush.
func (s *slot) flushes() bool { return s.kind == query || s.kind == syncing || s.kind == function }

// A queue holds the slots in the order of the client's messages. Slots are
// numbered from 1 through a session's life: head is the number of the oldest,
// tail that of the next to come.
type queue struct {
	ring       []slot // as long as a power of two
	head, tail uint64
}

func (q *queue) len() int { return int(q.tail - q.head) }

// at returns the slot with the number n, head <= n < tail. It is valid until
// the next push.
func (q *queue) at(n uint64) *slot { return &q.ring[n&uint64(len(q.ring)-1)] }

// pending reports whether the slot with the number n is unanswered.
func (q *queue) pending(n uint64) bool { return n >= q.head && n < q.tail }

// push adds an empty slot.
func (q *queue) push() *slot {
	if q.len() == len(q.ring) {
		q.grow()
	}
	s := q.at(q.tail)
	*s = slot{result: decoders.Result{By: s.result.By[:0]}}
	q.tail++
	return s
}

func (q *queue) grow() {
	ring := make([]slot, max(8, 2*len(q.ring)))
	for n := q.head; n < q.tail; n++ {
		ring[n&uint64(len(ring)-1)] = *q.at(n)
	}
	q.ring = ring
}

// head returns the slot that the server answers next, nil if it owes nothing.
func (d *decoder) head() *slot {
	for d.queue.len() > 0 {
		s := d.queue.at(d.queue.head)
		if !s.void && s.kind != copyEnd {
			return s
		}
		d.pop()
	}
	return nil
}

// pop removes the oldest slot.
func (d *decoder) pop() {
	s := d.queue.at(d.queue.head)
	if s.statements != nil {
		d.statements.settle(s.statements, d.queue.head)
	}
	if s.portals != nil {
		d.portals.settle(s.portals, d.queue.head)
	}
	d.releasePortal(s.portal)
	d.release(s.statement)
	s.portal, s.statement, s.refusal, s.shape, s.budget = nil, nil, nil, nil, nil
	d.queue.head++
}

// skip removes the slot at the head, an extended query message that failed,
// and what the server discards after it: everything up to Sync, which may not
// have been sent yet.
func (d *decoder) skip() {
	d.void()
	d.pop()
	d.head()
}

// void marks what the server discards.
func (d *decoder) void() {
	for n := d.queue.head + 1; n < d.queue.tail; n++ {
		s := d.queue.at(n)
		if s.void {
			continue
		}
		if s.kind == syncing {
			return
		}
		s.void = true
		if s.seq != 0 && s.refusal == nil && !s.told {
			d.skipped.add(s.seq)
		}
	}
	d.skipping = true
}

// A span is a run of requests that were never run.
type span struct{ first, last uint64 }

func (s *span) add(seq uint64) {
	if s.first == 0 {
		s.first = seq
	}
	s.last = seq
}

// remove takes the last one out again.
func (s *span) remove(seq uint64) {
	switch {
	case s.first == seq:
		*s = span{}
	case s.last == seq:
		s.last--
	}
}
