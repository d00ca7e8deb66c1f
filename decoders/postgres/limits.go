package postgres

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
	"github.com/jackc/pgproto3/v2"
)

// limitExceeded is configuration_limit_exceeded, which clients do not take for
// a reason to try again at once.
const limitExceeded = "53400"

// A budget is what one request may use. While it runs, what the client sends
// behind it waits: whether the request went too far must be known before the
// server goes on to a Sync or COMMIT that would make it last. A request that
// did is made to fail in its place, so that the state of the transaction and
// what is discarded until Sync are the server's own.
type budget struct {
	limits decoders.Limits
	copied int64             // rows of COPY TO STDOUT
	over   *decoders.Refusal // the limit that was exceeded
	phase  budgetPhase
	tag    []byte // a CommandComplete that waits for the COMMIT
}

// A budgetPhase is how far a request with a budget has come.
type budgetPhase uint8

const (
	bare       budgetPhase = iota // the request as the client sent it
	begun                         // a BEGIN of agentd's own runs before it
	wrapped                       // it runs within that transaction
	committing                    // agentd's COMMIT runs
	undoing                       // agentd's ROLLBACK runs
	failing                       // something sure to fail was sent in its place
)

// Limit implements decoders.Limiter.
func (d *decoder) Limit(limits decoders.Limits) ([]byte, error) {
	if d.client.event.Kind == decoders.Login {
		return d.bounded(&limits)
	}
	if !d.queue.pending(d.asked) {
		return nil, nil // the server is discarding everything until Sync
	}
	s := d.queue.at(d.asked)
	b := &budget{limits: limits}
	var out []byte
	switch s.kind {
	case execute:
		if why := s.uncountable(&limits); why != nil {
			return nil, why
		}
		// The client's Flush or Sync waits: this one brings the answer.
		out = encode(d.client.out[:0], &pgproto3.Execute{Portal: d.running.portal, MaxRows: d.running.rows})
		out = encode(out, &pgproto3.Flush{})
	case query:
		if why := s.uncountable(&limits); why != nil {
			return nil, why
		}
		if limits.Affected.Set() && len(d.statements.named) > 0 && s.reading.facts != nil && slices.Contains(s.reading.facts.Verbs, "execute") {
			return nil, errors.New("how many rows EXECUTE changes of what was prepared by the protocol is not known: run it as it was prepared")
		}
		if limits.Affected.Set() && d.queue.len() > 1 {
			return nil, errors.New("wait for the answer to a query before you send the next: rows that are changed are limited here")
		}
		if d.wraps(s) {
			b.phase = begun
			out = encode(d.client.out[:0], &pgproto3.Query{String: "BEGIN"})
			from := len(out)
			out = finish(append(append(begin(out, query), d.client.event.Text...), 0), from)
		}
	default:
		return nil, errors.New("a function that is called by its OID cannot be limited")
	}
	if out != nil {
		d.client.out = out
	}
	s.budget = b
	d.limited = d.asked
	return out, nil
}

// writes are the verbs whose rows the server counts; uncounted those that may
// write without being counted.
var (
	writes    = []string{"insert", "update", "delete", "merge", "copy"}
	uncounted = []string{"do", "call", "truncate", "refresh"}
	destroys  = []string{"drop table", "drop materialized view", "drop foreign table", "drop schema", "drop owned", "drop database", "drop extension"}
	ends      = []string{"begin", "start", "commit", "end", "rollback", "abort", "prepare transaction"}
)

func anyOf(list, of []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(of, s) })
}

// uncountable says why a limit of affected rows cannot be kept for the
// statement of s, nil if it can.
func (s *slot) uncountable(limits *decoders.Limits) error {
	if !limits.Affected.Set() {
		return nil
	}
	f := s.reading.facts
	switch {
	case f == nil || s.reading.unclassified != "":
		return errors.New("how many rows a statement changes that was not understood cannot be limited")
	case anyOf(f.Verbs, uncounted):
		return errors.New("how many rows DO, CALL, TRUNCATE and REFRESH change cannot be limited")
	case anyOf(f.Commands, destroys):
		return errors.New("how many rows are lost with what is dropped cannot be limited")
	case slices.Contains(f.Verbs, "explain") && (anyOf(f.Verbs, writes) || anyOf(f.Verbs, []string{"execute", "create"}) || s.makes()) && strings.Contains(f.Normalized, "analy"):
		return errors.New("how many rows EXPLAIN ANALYZE changes cannot be limited: leave out ANALYZE")
	case anyOf(f.Verbs, writes) && writesWithin(f.Normalized):
		return errors.New("how many rows a WITH or COPY changes besides its last part cannot be limited: write it as statements of their own")
	case s.kind == query && f.Statements > 1 && (anyOf(f.Verbs, writes) || s.makes()) && anyOf(f.Verbs, ends):
		return errors.New("send BEGIN, COMMIT and what is between as queries of their own: rows that are changed are limited here")
	}
	return nil
}

// writesWithin reports whether a text has a writing statement in parentheses,
// which the server's tag does not count: the part of a WITH, with a WITH of its
// own or not, and what COPY runs. It may say so of a column of such a name, at
// the front of a list.
func writesWithin(normalized string) bool {
	depth := 0
	var before byte // the last that was no space, in front of the word
	for i := 0; i < len(normalized); i++ {
		switch c := normalized[i]; {
		case c == ' ':
			continue
		case c == '"':
			if n := strings.IndexByte(normalized[i+1:], '"'); n >= 0 {
				i += n + 1
			}
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c >= 'a' && c <= 'z':
			n := strings.IndexFunc(normalized[i:], func(r rune) bool {
				return r < 0x80 && r != '_' && r != '$' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
			})
			if n < 0 {
				n = len(normalized) - i
			}
			if depth > 0 && (before == '(' || before == ')') && slices.Contains(writes, normalized[i:i+n]) {
				return true
			}
			i += n - 1
		}
		before = normalized[i]
	}
	return false
}

// wraps reports whether a Query needs a transaction of agentd's own, so that it
// can be undone: it may write, none is open, and it opens none itself.
func (d *decoder) wraps(s *slot) bool {
	f := s.reading.facts
	if f == nil || s.reading.unclassified != "" || d.status != 'I' || d.queue.len() > 1 || d.client.event.Text == nil || anyOf(f.Verbs, ends) {
		return false
	}
	return anyOf(f.Verbs, writes) || slices.Contains(f.Verbs, "execute") || s.makes()
}

// makes reports whether the statement fills a table that it makes. The server
// then counts the rows as those of a SELECT.
func (s *slot) makes() bool {
	r := &s.reading
	return r.facts != nil && slices.Contains(r.facts.Commands, "select into") ||
		r.meaning != nil && slices.ContainsFunc(r.meaning.Statements, func(st sql.Statement) bool { return st.Kind == "CreateTableAsStmt" })
}

// affected returns how many rows a command tag says were changed.
func affected(tag []byte) int64 {
	verb, rest, _ := bytes.Cut(tag, []byte(" "))
	switch string(verb) {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		n, err := strconv.ParseInt(string(rest[bytes.LastIndexByte(rest, ' ')+1:]), 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// spend handles a message of the server for a request with a budget. If it is
// not done, the message is as any other, of which at may now show less.
func (d *decoder) spend(s *slot, at *message) (t turn, done bool, err error) {
	b := s.budget
	m := *at
	if m.typ == 'Z' && !m.whole() {
		return d.need(m.size), true, nil
	}
	switch b.phase {
	case begun:
		switch m.typ {
		case 'C':
			return d.swallow(m), true, nil
		case 'Z':
			if m.first {
				b.phase = wrapped
			}
			return d.swallow(m), true, nil
		}
		return walk, false, nil
	case committing, undoing:
		switch m.typ {
		case 'C':
			return d.swallow(m), true, nil
		case 'E':
			b.tag = nil
			return walk, false, nil
		case 'Z':
			return d.concluded(s, m)
		}
		return walk, false, nil
	case failing:
		if m.typ == 'E' {
			return d.overdrawn(s, m), true, nil
		}
		return walk, false, nil
	}
	return d.counted(s, at)
}

// swallow keeps a message from the client.
func (d *decoder) swallow(m message) turn {
	if !m.first {
		return flush
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
	return alone
}

// counted handles what the request itself brings.
func (d *decoder) counted(s *slot, at *message) (t turn, done bool, err error) {
	b := s.budget
	m := *at
	switch m.typ {
	case 'D', 'd':
		return d.metered(s, at)
	case 'C', 's':
		return d.finished(s, m)
	case 'Z':
		return d.concluded(s, m)
	case 'E':
		t, done = d.remarked(m)
		return t, done, nil
	case 'T', 'H', 'c', 'I', 't':
		if b.over != nil {
			return d.swallow(m), true, nil
		}
	}
	return walk, false, nil
}

// metered lets rows through as far as they fit.
func (d *decoder) metered(s *slot, at *message) (t turn, done bool, err error) {
	b := s.budget
	if b.over == nil {
		rows, end, err := b.fitting(s, at)
		if err != nil {
			return walk, true, err
		}
		if rows > 0 {
			if at.typ == 'd' {
				b.copied++
			} else {
				at.buf = at.buf[:min(end, len(at.buf))]
			}
			return walk, false, nil
		}
	}
	if !at.first {
		return flush, true, nil
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: at.size}
	return alone, true, nil
}

// fitting returns how many of the rows at the front of at fit into the budget,
// and where they end. If none does, b.over says why.
func (b *budget) fitting(s *slot, at *message) (rows int64, end int, err error) {
	l := &b.limits
	used, sent := s.result.Rows+b.copied, s.result.Bytes
	for len(at.buf)-end >= headerLen && at.buf[end] == at.typ {
		_, size, err := frame(at.buf[end:])
		if err != nil {
			return 0, 0, err
		}
		switch {
		case l.Rows.Set() && used+rows >= l.Rows.Max:
			b.exceed(rows, &l.Rows)
			return rows, end, nil
		case l.Bytes.Set() && sent+int64(end+size) > l.Bytes.Max:
			b.exceed(rows, &l.Bytes)
			return rows, end, nil
		}
		rows++
		end += size
		if end >= len(at.buf) || at.typ == 'd' {
			break
		}
	}
	return rows, end, nil
}

// exceed notes that a row is beyond a limit, once those before it are through.
func (b *budget) exceed(before int64, l *decoders.Limit) {
	if before == 0 {
		b.over = &l.Refusal
	}
}

// finished handles the end of a statement, or of a part of its rows.
func (d *decoder) finished(s *slot, m message) (t turn, done bool, err error) {
	b := s.budget
	switch {
	case m.size > maxTag:
		return walk, false, nil // an error, elsewhere
	case !m.whole():
		return d.need(m.size), true, nil
	case !m.first:
		return flush, true, nil
	}
	if tag, _, ok := cstring(m.body()); m.typ == 'C' && ok && b.over == nil {
		if changed := s.result.Affected + s.changed(tag); b.limits.Affected.Set() && changed > b.limits.Affected.Max {
			b.over = &b.limits.Affected.Refusal
		}
	}
	switch {
	case b.over != nil && s.kind == execute:
		return d.fails(m, b, encode(d.server.out[:0], &pgproto3.Execute{Portal: "agentd_" + rand.Text()})), true, nil
	case b.over != nil:
		s.done = true
		return d.swallow(m), true, nil
	case b.phase == wrapped && s.reading.facts.Statements == 1:
		if _, err := d.completed(s, m); err != nil {
			return walk, true, err
		}
		b.tag = bytes.Clone(m.buf[:m.size])
		return d.swallow(m), true, nil
	}
	return walk, false, nil
}

// changed returns how many rows a statement changed, as its tag says.
func (s *slot) changed(tag []byte) int64 {
	if rows, ok := bytes.CutPrefix(tag, []byte("COPY ")); ok && s.reading.facts != nil && slices.Contains(s.reading.facts.Commands, "copy from") {
		n, _ := strconv.ParseInt(string(rows), 10, 64)
		return n
	}
	if rows, ok := bytes.CutPrefix(tag, []byte("SELECT ")); ok && s.makes() {
		n, _ := strconv.ParseInt(string(rows), 10, 64)
		return n
	}
	return affected(tag)
}

// fails sends out, which is sure to fail, in place of a request that went too
// far, and keeps m from the client.
func (d *decoder) fails(m message, b *budget, out []byte) turn {
	d.server.out = out
	b.phase = failing
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Back: out}
	return alone
}

// overdrawn replaces the error of what was sure to fail by the limit.
func (d *decoder) overdrawn(s *slot, m message) turn {
	if !m.first {
		return flush
	}
	over := s.budget.over
	s.exceeded()
	d.server.out = complaint(d.server.out[:0], "ERROR", limitExceeded, over.Message(), over.Hint)
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.out}
	if !s.extended() {
		s.done = true
		return alone
	}
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: s.seq, Result: s.result}
	d.server.step.Event = &d.server.event
	s.told = true
	d.skip()
	return alone
}

// exceeded makes the result that of a request which failed.
func (s *slot) exceeded() {
	s.result.Tag, s.result.Affected = "", 0
	s.result.Code, s.result.Message = limitExceeded, s.budget.over.Message()
}

// concluded handles the ReadyForQuery of a Query: it ends the transaction that
// is agentd's own, or undoes what went too far.
func (d *decoder) concluded(s *slot, m message) (t turn, done bool, err error) {
	b := s.budget
	if len(m.buf) < headerLen+1 || s.kind != query {
		return walk, false, nil
	}
	if !m.first {
		return flush, true, nil
	}
	status := m.buf[headerLen]
	switch {
	case b.phase == wrapped && status == 'T' && b.over == nil:
		return d.closes(b, m, committing, "COMMIT"), true, nil
	case b.phase == wrapped && status != 'I':
		return d.closes(b, m, undoing, "ROLLBACK"), true, nil
	case b.phase == wrapped:
		return walk, true, errors.New("a statement ended the transaction that its limits need")
	case b.phase == bare && b.over != nil && status == 'T':
		return d.fails(m, b, encode(d.server.out[:0], &pgproto3.Query{String: "agentd refused this: " + sanitise(b.over.Rule)})), true, nil
	case b.phase == bare && b.over == nil, b.phase == failing, status == 'E':
		return walk, false, nil
	}
	var before []byte
	switch {
	case b.over != nil:
		before = complaint(nil, "ERROR", limitExceeded, b.over.Message(), b.over.Hint)
		s.exceeded()
	case b.phase == committing:
		before = b.tag
	}
	s.done = true
	return d.readyBehind(m, before)
}

// closes ends agentd's own transaction.
func (d *decoder) closes(b *budget, m message, phase budgetPhase, command string) turn {
	b.phase = phase
	d.server.out = encode(d.server.out[:0], &pgproto3.Query{String: command})
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Back: d.server.out}
	return alone
}

// readyBehind is ready, with something sent to the client before.
func (d *decoder) readyBehind(m message, before []byte) (t turn, done bool, err error) {
	switch t, err = d.ready(m); {
	case err != nil, t == flush:
		return t, true, err
	case t == alone:
		d.server.step.Out = before
	default:
		d.server.step = decoders.Step{Op: decoders.Pass, N: m.size, Out: before}
		if t == tell {
			d.server.step.Event = &d.server.event
		}
	}
	return alone, true, nil
}
