package postgres_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A client speaks the protocol in raw messages.
type client struct {
	t    testing.TB
	conn net.Conn
	// key is the server's BackendKeyData, pid and secret.
	key []byte
}

// reply is one message of the server.
type reply struct {
	typ  byte
	body []byte
}

// String shows a reply so that two servers' answers can be compared: errors
// by their code alone.
func (r reply) String() string {
	switch r.typ {
	case 'E', 'N':
		return fmt.Sprintf("%c %s %s", r.typ, field(r.body, 'S'), field(r.body, 'C'))
	}
	return fmt.Sprintf("%c %q", r.typ, r.body)
}

func field(body []byte, name byte) string {
	for _, f := range strings.Split(string(body), "\x00") {
		if f != "" && f[0] == name {
			return f[1:]
		}
	}
	return ""
}

// dial logs in to database through addr.
func dial(t testing.TB, addr, database string, params ...string) *client {
	t.Helper()
	c := connect(t, addr)
	c.send(startup(append([]string{"user", "postgres", "database", database}, params...)...))
	for _, r := range c.until('Z') {
		if r.typ == 'K' {
			c.key = r.body
		}
		if r.typ == 'E' {
			t.Fatalf("login: %v %s", r, field(r.body, 'M'))
		}
	}
	return c
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn}
}

func (c *client) send(b []byte) {
	if _, err := c.conn.Write(b); err != nil {
		c.t.Errorf("%s: send: %v", caller(), err)
	}
}

// next reads one message.
func (c *client) next() (reply, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return reply{}, err
	}
	var head [5]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return reply{}, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	_, err := io.ReadFull(c.conn, body)
	return reply{head[0], body}, err
}

// until reads messages through the first of type typ.
func (c *client) until(typ byte) []reply {
	c.t.Helper()
	var out []reply
	for {
		r, err := c.next()
		if err != nil {
			c.t.Fatalf("after %v: %v", out, err)
		}
		out = append(out, r)
		if r.typ == typ {
			return out
		}
	}
}

// ready reads n times until ReadyForQuery.
func (c *client) ready(n int) []reply {
	c.t.Helper()
	var out []reply
	for range n {
		out = append(out, c.until('Z')...)
	}
	return out
}

// run runs one simple query.
func (c *client) run(text string) []reply {
	c.t.Helper()
	c.send(msg('Q', text, 0))
	return c.until('Z')
}

// values returns the columns of all rows, joined by bars.
func values(replies []reply) (rows []string) {
	for _, r := range replies {
		if r.typ != 'D' {
			continue
		}
		var row []string
		b := r.body[2:]
		for len(b) > 0 {
			n := int(int32(binary.BigEndian.Uint32(b)))
			b = b[4:]
			if n < 0 {
				row = append(row, "NULL")
				continue
			}
			row = append(row, string(b[:n]))
			b = b[n:]
		}
		rows = append(rows, strings.Join(row, "|"))
	}
	return rows
}

// types returns the replies' types in one word.
func types(replies []reply) string {
	var b strings.Builder
	for _, r := range replies {
		b.WriteByte(r.typ)
	}
	return b.String()
}

// msg builds a message: strings as they are, ints as bytes, int16 and int32
// in network order.
func msg(typ byte, parts ...any) []byte {
	b := []byte{typ, 0, 0, 0, 0}
	for _, part := range parts {
		switch v := part.(type) {
		case string:
			b = append(b, v...)
		case []byte:
			b = append(b, v...)
		case int:
			b = append(b, byte(v))
		case int16:
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		case int32:
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		default:
			panic(fmt.Sprintf("part of type %T", part))
		}
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}

func parseMsg(name, text string) []byte { return msg('P', name, 0, text, 0, int16(0)) }

// bindMsg binds without parameters, results in text, or all in binary.
func bindMsg(portal, name string, binary ...bool) []byte {
	if len(binary) > 0 && binary[0] {
		return msg('B', portal, 0, name, 0, int16(0), int16(0), int16(1), int16(1))
	}
	return msg('B', portal, 0, name, 0, int16(0), int16(0), int16(0))
}
func describeMsg(what byte, name string) []byte { return msg('D', int(what), name, 0) }
func closeMsg(what byte, name string) []byte    { return msg('C', int(what), name, 0) }
func executeMsg(portal string) []byte           { return msg('E', portal, 0, int32(0)) }
func syncMsg() []byte                           { return msg('S') }

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// startup builds a StartupMessage of version 3.0.
func startup(params ...string) []byte {
	b := []byte{0, 0, 0, 0, 0, 3, 0, 0}
	for _, p := range params {
		b = append(append(b, p...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}
