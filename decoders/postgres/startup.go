package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

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

var errTLS = errors.New("the client began TLS without asking first, and agentd does not speak TLS here yet: set sslmode=disable or sslmode=prefer, and sslnegotiation=postgres")

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
		return d.ask(n, decoders.Event{Kind: decoders.Cancel}), nil
	case code>>16 == 3:
		return d.logIn(buf[8:n], n)
	}
	return decoders.Step{}, fmt.Errorf("start-up request %d.%d of %d bytes is not known", code>>16, code&0xffff, n)
}

// logIn reads the parameters of a StartupMessage.
func (d *decoder) logIn(params []byte, n int) (decoders.Step, error) {
	facts := new(login)
	for {
		name, rest, ok := cstring(params)
		if !ok {
			return decoders.Step{}, errors.New("start-up message ends within a name")
		}
		if len(name) == 0 {
			if len(rest) > 0 {
				return decoders.Step{}, errors.New("start-up message goes on behind its end")
			}
			break
		}
		value, rest, ok := cstring(rest)
		if !ok {
			return decoders.Step{}, errors.New("start-up message ends within a value")
		}
		facts.set(string(name), string(value))
		params = rest
	}
	if facts.database == "" {
		facts.database = facts.user
	}
	d.phase = loggingIn
	ev := decoders.Event{Kind: decoders.Login, Facts: facts}
	if facts.replication {
		if d.masking() {
			return decoders.Step{}, errors.New("a replication connection carries whole tables, and columns of this database are masked")
		}
		d.replication = true
		d.scoping.wanted, d.scoping.stale = false, false // it may not even be able to say
		ev.Exceptional = "A replication connection carries whole tables, which is not looked into."
	}
	return d.ask(n, ev), nil
}

// A login is what a client says of itself. It implements decoders.Facts.
type login struct {
	user, database, application string
	replication                 bool
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
	}
}

// no is how a replication parameter says that it is none; whatever else it
// says may be one.
var no = map[string]bool{"": true, "false": true, "off": true, "no": true, "0": true}

// loginFields are the fields of a login.
var loginFields = []decoders.Field{
	{Name: "login.user", Type: decoders.String, Kinds: decoders.Login, Doc: "the database user the client logs in as"},
	{Name: "login.database", Type: decoders.String, Kinds: decoders.Login, Doc: "the database it asks for"},
	{Name: "login.application", Type: decoders.String, Kinds: decoders.Login, Doc: "its application_name, which it chooses freely"},
	{Name: "login.replication", Type: decoders.Bool, Kinds: decoders.Login, Doc: "whether it asks for a replication connection, which is refused unless a rule allows it", Exceptional: true},
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
	case "login.replication":
		return l.replication
	}
	return nil
}

// authenticate handles the client's messages before the first ReadyForQuery:
// what is not part of the login waits.
func (d *decoder) authenticate(buf []byte) (decoders.Step, error) {
	switch buf[0] {
	case 'p', 'X':
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
	switch m.typ {
	case 'R':
		if m.size < headerLen+4 {
			return walk, fmt.Errorf("authentication message of %d bytes", m.size)
		}
		if len(m.buf) < headerLen+4 {
			return d.need(headerLen + 4), nil
		}
		d.challenged = !bytes.Equal(m.body()[:4], authOK) && !bytes.Equal(m.body()[:4], authSASLFinal)
		return walk, nil
	case 'K', 'N', 'v', 'E':
		return walk, nil
	case 'S':
		return d.parameter(m)
	case 'Z':
		return d.ready(m)
	}
	return walk, fmt.Errorf("the server sent message %q during login", m.typ)
}
