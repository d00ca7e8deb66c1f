package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"

	"agentd.dev/decoders"
)

// Request codes in place of a protocol version (protocol.sgml, "StartupMessage"
// and its neighbours).
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

const (
	maxStartup = 10_000 // MAX_STARTUP_PACKET_LENGTH
	// maxToken is the longest password or token a server takes.
	maxToken  = 64 << 10
	tlsRecord = 0x16 // first byte of a TLS ClientHello
)

var errTLS = errors.New("the client began TLS, which agentd does not offer here: set `client: offer` under the target's `tls`, or sslmode=prefer and sslnegotiation=postgres for the client")

// sniff tells a PostgreSQL client by its first eight bytes. Servers do not
// speak first.
func sniff(dir decoders.Dir, head []byte) decoders.Match {
	if dir == decoders.FromServer {
		return decoders.No
	}
	if len(head) >= 4 {
		if n := binary.BigEndian.Uint32(head); n < 8 || n > maxStartup {
			return decoders.No
		}
	}
	if len(head) < 8 {
		for _, b := range head[:min(len(head), 2)] {
			if b != 0 {
				return decoders.No
			}
		}
		return decoders.Maybe
	}
	switch code := binary.BigEndian.Uint32(head[4:]); code {
	case cancelRequest, sslRequest, gssRequest:
		return decoders.Yes
	default:
		if code>>16 == 3 {
			return decoders.Yes
		}
		return decoders.No
	}
}

// start reads what comes before the messages that have a type byte.
func (d *decoder) start(buf []byte) (decoders.Step, error) {
	if buf[0] == tlsRecord {
		return decoders.Step{}, errTLS
	}
	if len(buf) < 8 {
		return decoders.Step{Op: decoders.More, N: 8}, nil
	}
	size := binary.BigEndian.Uint32(buf)
	code := binary.BigEndian.Uint32(buf[4:])
	if size < 8 || size > maxStartup {
		return decoders.Step{}, fmt.Errorf("not a PostgreSQL client: it began with %q", buf[:8])
	}
	n := int(size)
	if len(buf) < n {
		return decoders.Step{Op: decoders.More, N: n}, nil
	}
	switch {
	case code == sslRequest && n == 8 && !d.askedTLS, code == gssRequest && n == 8 && !d.askedGSS: // once each, as servers have it
		d.askedTLS = d.askedTLS || code == sslRequest
		d.askedGSS = d.askedGSS || code == gssRequest
		d.server.out = append(d.server.out[:0], 'N')
		return decoders.Step{Op: decoders.Drop, N: n, Back: d.server.out}, nil
	case code == cancelRequest && n >= 8+4+4 && n <= 8+4+256:
		d.phase = cancelling
		d.cancelKey = bytes.Clone(buf[8:n])
		return d.ask(n, decoders.Event{Kind: decoders.Cancel}), nil
	case code>>16 == 3:
		return d.logIn(buf[:n])
	}
	return decoders.Step{}, fmt.Errorf("start-up request %d.%d of %d bytes is not known", code>>16, code&0xffff, n)
}

// logIn reads the parameters of a StartupMessage.
func (d *decoder) logIn(msg []byte) (decoders.Step, error) {
	facts := new(login)
	for p, err := range parameters(msg) {
		if err != nil {
			return decoders.Step{}, err
		}
		facts.set(string(p.name), string(p.value))
	}
	if facts.database == "" {
		facts.database = facts.user
	}
	facts.as = facts.user
	ev := decoders.Event{Kind: decoders.Login, Facts: facts}
	if trace, ok := decoders.TraceOf(facts.application); ok {
		ev.Claims = []decoders.Claim{{Key: decoders.Trace, Value: trace}}
	}
	if facts.replication {
		if d.masking() {
			return decoders.Step{}, errors.New("a replication connection carries whole tables, and columns of this database are masked")
		}
		d.replication = true
		d.footing.wanted = false
		d.scoping.wanted, d.scoping.stale = false, false // it may not even be able to say
		ev.Exceptional = "A replication connection carries whole tables, which is not looked into."
	}
	if d.want.Bounds {
		d.bounds.login = bytes.Clone(msg)
	}
	d.settings.loggedInAs(msg, facts, d.want.Account)
	if d.want.Account != nil {
		return d.logInAs(d.want.Account, msg, facts, ev)
	}
	d.phase = loggingIn
	return d.ask(len(msg), ev), nil
}

// parameters are the names and values of a StartupMessage.
func parameters(msg []byte) iter.Seq2[parameter, error] {
	return func(yield func(parameter, error) bool) {
		for rest := msg[8:]; ; {
			var p parameter
			var ok bool
			p.name, rest, ok = cstring(rest)
			switch {
			case !ok:
				yield(p, errors.New("start-up message ends within a name"))
				return
			case len(p.name) == 0 && len(rest) > 0:
				yield(p, errors.New("start-up message goes on behind its end"))
				return
			case len(p.name) == 0:
				return
			}
			if p.value, rest, ok = cstring(rest); !ok {
				yield(p, errors.New("start-up message ends within a value"))
				return
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// A parameter is one of a StartupMessage.
type parameter struct{ name, value []byte }

// A login is what a client says of itself. It implements decoders.Facts.
type login struct {
	user, database, application string
	replication                 bool
	as, credential              string // whom agentd logs in as, and with what
	sets                        []string
}

func (l *login) set(name, value string) {
	switch name {
	case "user":
		l.user = value
	case "database":
		l.database = value
	case "application_name":
		l.application = value
	case "replication":
		l.replication = !no[value]
	case "options":
		l.sets = appendOptions(l.sets, value)
		return
	}
	if !ownParameters[name] && !strings.HasPrefix(name, "_pq_.") {
		l.sets = append(l.sets, strings.ToLower(name))
	}
}

// ownParameters are those of a StartupMessage that set no setting.
var ownParameters = map[string]bool{"user": true, "database": true, "replication": true}

// no is how a replication parameter says that it is none; whatever else it
// says may be one.
var no = map[string]bool{"": true, "false": true, "off": true, "no": true, "0": true}

// loginFields are the fields of a login.
var loginFields = []decoders.Field{
	{Name: "login.user", Type: decoders.String, Kinds: decoders.Login, Doc: "the database user the client logs in as"},
	{Name: "login.database", Type: decoders.String, Kinds: decoders.Login, Doc: "the database it asks for"},
	{Name: "login.application", Type: decoders.String, Kinds: decoders.Login, Doc: "its application_name, which it chooses freely"},
	{Name: "login.as", Type: decoders.String, Kinds: decoders.Login, Doc: "the database user that the server sees: the credential's, or login.user where there is none"},
	{Name: "login.credential", Type: decoders.String, Kinds: decoders.Login, Doc: "the credential that agentd logs in with, empty if the client does that itself"},
	{Name: "login.replication", Type: decoders.Bool, Kinds: decoders.Login, Doc: "whether it asks for a replication connection, which is refused unless a rule allows it", Exceptional: true},
	{Name: "login.sets", Type: decoders.Strings, Kinds: decoders.Login, Doc: `the settings that it brings, in its options too, "role" among them, "*" for one that cannot be told; what statements set is sql.sets`},
}

// Field returns the value of one of loginFields.
func (l *login) Field(name string) any {
	switch name {
	case "login.user":
		return l.user
	case "login.database":
		return l.database
	case "login.application":
		return l.application
	case "login.as":
		return l.as
	case "login.credential":
		return l.credential
	case "login.replication":
		return l.replication
	case "login.sets":
		return l.sets
	}
	return nil
}

// authenticate handles the client's messages before the first ReadyForQuery:
// what is not part of the login waits.
func (d *decoder) authenticate(buf []byte) (decoders.Step, error) {
	switch {
	case buf[0] == 'p' && d.want.Account != nil:
		return decoders.Step{}, errors.New("the client sent a password, and nobody asked for one: agentd logs in itself here")
	case buf[0] == 'p', buf[0] == 'X':
	default:
		if d.challenged {
			return decoders.Step{}, fmt.Errorf("message %q in answer to the server's request for a password", buf[0])
		}
		return decoders.Step{Op: decoders.Wait}, nil
	}
	if len(buf) < headerLen {
		return decoders.Step{Op: decoders.More, N: headerLen}, nil
	}
	typ, size, err := frame(buf)
	if err != nil {
		return decoders.Step{}, err
	}
	if size > headerLen+maxToken {
		return decoders.Step{}, fmt.Errorf("password message of %d bytes", size)
	}
	if typ == 'X' {
		d.phase = over
	}
	if typ == 'p' && d.unbound {
		if step, err := d.choose(buf, size); err != nil || step.Op == decoders.More && step.N > 0 {
			return step, err
		}
	}
	d.challenged = false
	return decoders.Step{Op: decoders.Pass, N: size}, nil
}

// The only two Authentication messages that want no answer, by their codes.
var (
	authOK        = []byte{0, 0, 0, 0}
	authSASLFinal = []byte{0, 0, 0, 12}
)

// admit handles the server's messages up to the first ReadyForQuery.
func (d *decoder) admit(m message) (turn, error) {
	if d.want.Account != nil && !d.account.admitted {
		return d.challenge(m)
	}
	switch m.typ {
	case 'R':
		if m.size < headerLen+4 {
			return walk, fmt.Errorf("authentication message of %d bytes", m.size)
		}
		if len(m.buf) < headerLen+4 {
			return d.need(headerLen + 4), nil
		}
		d.challenged = !bytes.Equal(m.body()[:4], authOK) && !bytes.Equal(m.body()[:4], authSASLFinal)
		if d.want.Secured[decoders.FromServer] && d.want.Account == nil && bytes.Equal(m.body()[:4], authSASL) {
			return d.offer(m)
		}
		return walk, nil
	case 'K':
		return d.cancelledBy(m)
	case 'N', 'v', 'E':
		return walk, nil
	case 'S':
		return d.parameter(m)
	case 'Z':
		return d.ready(m)
	}
	return walk, fmt.Errorf("the server sent message %q during login", m.typ)
}

// maxCancelKey is the longest key, and number of a process, since version 3.2.
const maxCancelKey = 4 + 256

// cancelledBy keeps what the session's requests are cancelled by.
func (d *decoder) cancelledBy(m message) (turn, error) {
	if m.size > headerLen+maxCancelKey {
		return walk, fmt.Errorf("cancel key of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	d.cancelKey = bytes.Clone(m.body())
	return walk, nil
}
