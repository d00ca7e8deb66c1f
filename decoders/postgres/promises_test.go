package postgres_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/decodertest"
	ways "agentd.dev/decoders/masks"
	"agentd.dev/decoders/postgres"
)

// sessions are what clients say, each chunk until the server is ready again.
var sessions = map[string][][]byte{
	"quiet": {msg('Q', "select note from t where id = 3", 0)},
	"simple": {
		msg('Q', "begin", 0),
		msg('Q', "select id, note from t order by id", 0),
		msg('Q', "select 1; select 2; insert into t values (70, 'x')", 0),
		msg('Q', "", 0),
		msg('Q', "select * from nowhere", 0),
		msg('Q', "rollback", 0),
		msg('Q', "notify n, 'hello'", 0),
	},
	"extended": {
		join(parseMsg("", "select note from t where id = 1"), bindMsg("", ""), describeMsg('P', ""), executeMsg(""), syncMsg()),
		join(parseMsg("s", "select id from t where id = 2"), describeMsg('S', "s"), syncMsg()),
		join(bindMsg("p", "s", true), executeMsg("p"), syncMsg()),
		join(parseMsg("", "select 1/0"), bindMsg("", ""), executeMsg(""), bindMsg("", "s"), executeMsg(""), parseMsg("", "select 3"), executeMsg(""), syncMsg()),
		join(closeMsg('S', "s"), syncMsg()),
	},
	"copy": {
		msg('Q', "copy t to stdout", 0),
		join(msg('Q', "begin", 0), msg('Q', "copy t from stdin", 0), msg('d', "80\tc\n"), msg('c'), msg('Q', "rollback", 0)),
		join(msg('Q', "copy t from stdin", 0), msg('f', "no", 0)),
	},
	"function": {msg('F', int32(1598), int16(0), int16(0), int16(0))},
}

// loops are what may go on for ever.
var loops = map[string][]byte{
	"quiet":    msg('Q', "select note from t where id = 3", 0),
	"simple":   msg('Q', "select note from t where id = 3", 0),
	"extended": join(parseMsg("", "select note from t where id = 3"), bindMsg("", ""), describeMsg('P', ""), executeMsg(""), syncMsg()),
	"copy":     msg('Q', "copy t to stdout", 0),
	"function": msg('F', int32(1598), int16(0), int16(0), int16(0)),
}

// record plays the sessions to the server and writes down what was said.
func record(t testing.TB, want decoders.Want, database string) []decodertest.Conversation {
	t.Helper()
	p := startProxy(t, want, maskColumns, 0)
	var out []decodertest.Conversation
	for name, chunks := range sessions {
		p.mu.Lock()
		p.tape = nil
		p.mu.Unlock()
		c := dial(t, p.addr(), database)
		for _, chunk := range chunks {
			c.send(chunk)
			c.ready(readies(chunk))
		}
		said := len(p.said())
		c.send(loops[name])
		c.ready(1)
		tape := p.said()
		c.conn.Close()
		if name == "function" && len(want.Fields) > 0 || want.Bindings && name != "quiet" {
			tape = tape[:said] // what it did to names is asked each time; and after all this, what is in force
		}
		out = append(out, decodertest.Conversation{Name: name, Chunks: tape[:said], Loop: tape[said:], Injected: injects(want)})
	}
	return out
}

// injects reports whether the decoder asks the server something itself.
func injects(want decoders.Want) bool {
	return len(want.Columns) > 0 || len(want.Fields) > 0 || want.Bindings
}

// maskColumns masks what is protected and allows all else.
func maskColumns(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
	var masks []decoders.Mask
	for _, c := range ev.Columns {
		masks = append(masks, decoders.Mask{Index: c.Index, Way: ways.Text("***")})
	}
	return nil, masks
}

func (p *proxy) said() []decodertest.Chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]decodertest.Chunk(nil), p.tape...)
}

// readies counts the messages in b that the server answers by ReadyForQuery.
func readies(b []byte) (n int) {
	for len(b) >= 5 {
		size := int(binary.BigEndian.Uint32(b[1:])) + 1
		if bytes.IndexByte([]byte("QSF"), b[0]) >= 0 {
			n++
		}
		b = b[min(size, len(b)):]
	}
	return n
}

// realServer stands for the server by being one.
func realServer(t testing.TB) func() func([]byte) []byte {
	return func() func([]byte) []byte {
		c := connect(t, serverAddr(t))
		login := true
		return func(sent []byte) []byte {
			due := readies(sent)
			if login {
				due, login = 1, false
			}
			c.send(sent)
			var said []byte
			for range due {
				for {
					r, err := c.next()
					if errors.Is(err, net.ErrClosed) {
						return said
					}
					if err != nil {
						t.Errorf("server: %v", err)
						return said
					}
					said = append(said, msg(r.typ, r.body)...)
					if r.typ == 'Z' {
						break
					}
				}
			}
			return said
		}
	}
}

func TestTheDecoderKeepsItsPromises(t *testing.T) {
	database, _ := twins(t)
	for name, want := range map[string]decoders.Want{
		"plain":  {},
		"shown":  {Results: 64 << 10},
		"cut":    {Results: 40, Columns: []decoders.ColumnName{{Schema: "public", Table: "t", Column: "note"}}},
		"bound":  {Bindings: true, Grammar: newGrammar()},
		"named":  relations,
		"masked": {Columns: []decoders.ColumnName{{Schema: "public", Table: "t", Column: "note"}}},
	} {
		t.Run(name, func(t *testing.T) {
			recorded := record(t, want, database)
			if want.Bindings { // one query waits for the last to be answered, which a tape does not show
				recorded = slices.DeleteFunc(recorded, func(c decodertest.Conversation) bool { return c.Name == "copy" })
			}
			decodertest.Run(t, postgres.Protocol, recorded, decodertest.Options{
				Want:    want,
				Injects: injects(want),
				Server:  realServer(t),
				MaxMore: 65 << 20,
				Refused: refusedInWords,
			})
		})
	}
}

func refusedInWords(ev *decoders.Event, client, server []byte) error {
	if ev.Kind == decoders.Login {
		return nil
	}
	if bytes.Contains(client, []byte("C22012\x00")) {
		return nil // the server failed before it came to what was refused
	}
	if !bytes.Contains(client, []byte("refused by the test kit")) {
		return fmt.Errorf("the client is not told that %q was refused", ev.Text)
	}
	return nil
}

func FuzzBoth(f *testing.F) {
	description := msg('T', int16(2), "id", 0, int32(16384), int16(1), int32(23), int16(4), int32(-1), int16(0),
		"note", 0, int32(16384), int16(2), int32(25), int16(-1), int32(-1), int16(0))
	row := msg('D', int16(2), int32(1), "1", int32(3), "abc")
	ready, done := msg('Z', "I"), msg('C', "SELECT 1", 0)
	login := []decodertest.Chunk{
		{Dir: decoders.FromClient, Bytes: startup("user", "u")},
		{Dir: decoders.FromServer, Bytes: join(msg('R', int32(0)), msg('S', "client_encoding", 0, "UTF8", 0), ready)},
		{Dir: decoders.FromServer, Bytes: join(catalogueRow("16384", "2", "public", "t", "note"), msg('C', "SELECT 1", 0), ready)},
		{Dir: decoders.FromServer, Bytes: join(scopeRow("path", "public"), scopeRow("relation", "public", "t"), scopeRow("child", "public", "t", "public", "u"), msg('C', "SELECT 3", 0), ready)},
	}
	decodertest.FuzzNext(f, postgres.Protocol, []decodertest.Conversation{
		{Name: "simple", Chunks: slices.Concat(login, []decodertest.Chunk{
			{Dir: decoders.FromClient, Bytes: msg('Q', "select id, note from t", 0)},
			{Dir: decoders.FromServer, Bytes: join(description, row, done, ready)},
		})},
		{Name: "extended", Chunks: slices.Concat(login, []decodertest.Chunk{
			{Dir: decoders.FromClient, Bytes: join(parseMsg("s", "select id, note from t"), bindMsg("p", "s"), describeMsg('P', "p"), executeMsg("p"), syncMsg())},
			{Dir: decoders.FromServer, Bytes: join(msg('1'), msg('2'), description, row, done, ready)},
			{Dir: decoders.FromClient, Bytes: join(parseMsg("", "select id, note from t"), bindMsg("", ""), executeMsg(""), syncMsg())},
			{Dir: decoders.FromServer, Bytes: join(msg('1'), msg('t', int16(0)), description, msg('2'), row, done, ready)},
		})},
		{Name: "copy", Chunks: slices.Concat(login, []decodertest.Chunk{
			{Dir: decoders.FromClient, Bytes: join(msg('Q', "copy x from stdin", 0))},
			{Dir: decoders.FromServer, Bytes: msg('G', 0, int16(0))},
			{Dir: decoders.FromClient, Bytes: join(msg('d', "1"), msg('c'))},
			{Dir: decoders.FromServer, Bytes: join(msg('C', "COPY 1", 0), ready)},
		})},
	}, decodertest.Options{Want: decoders.Want{
		Columns: []decoders.ColumnName{{Schema: "public", Table: "t", Column: "note"}},
		Grammar: tables{}, Fields: relations.Fields,
	}, MaxMore: 65 << 20})
}

// scopeRow is a row of what the decoder asks about names.
func scopeRow(values ...string) []byte {
	parts := []any{int16(5)}
	for i := range 5 {
		v := ""
		if i < len(values) {
			v = values[i]
		}
		parts = append(parts, int32(len(v)), v)
	}
	return msg('D', parts...)
}

// catalogueRow is a row of what the decoder asks after login: a column that is
// protected by its own name.
func catalogueRow(relation, number, schema, table, column string) []byte {
	parts := []any{int16(12)}
	for _, v := range []string{"c", relation, number, schema, table, column, schema, table, column, "f", "25", "25"} {
		parts = append(parts, int32(len(v)), v)
	}
	return msg('D', parts...)
}

func FuzzServer(f *testing.F) { fuzzOne(f, decoders.FromServer) }

func FuzzClient(f *testing.F) { fuzzOne(f, decoders.FromClient) }

// fuzzOne feeds one side of a running session.
func fuzzOne(f *testing.F, dir decoders.Dir) {
	f.Add(startup("user", "u"))
	for name, chunks := range sessions {
		f.Add(join(chunks...))
		f.Add(loops[name])
	}
	f.Add(join(msg('T', int16(1), "note", 0, int32(16384), int16(2), int32(25), int16(-1), int32(-1), int16(0)), msg('D', int16(1), int32(3), "abc"), msg('C', "SELECT 1", 0), msg('Z', "I")))
	f.Add(msg('E', "SERROR", 0, "C42601", 0, "Mtext", 0, 0))
	f.Fuzz(func(t *testing.T, input []byte) {
		w := &decodertest.Wire{Decoder: postgres.Protocol.New(decoders.Want{}), Fields: postgres.Protocol.Fields, MaxMore: 65 << 20}
		w.Judge = func(ev *decoders.Event) decodertest.Verdict {
			if ev.Kind == decoders.Request && ev.Seq%3 == 0 {
				return decodertest.Verdict{Refuse: &decoders.Refusal{Rule: "fuzz"}}
			}
			return decodertest.Verdict{}
		}
		for _, c := range []decodertest.Chunk{
			{Dir: decoders.FromClient, Bytes: startup("user", "u")},
			{Dir: decoders.FromServer, Bytes: join(msg('R', int32(0)), msg('Z', "I"))},
			{Dir: decoders.FromClient, Bytes: join(msg('Q', "select note from t", 0), parseMsg("", "select 1"), bindMsg("", ""), executeMsg(""), syncMsg())},
			{Dir: dir, Bytes: input},
		} {
			if err := w.Send(c.Dir, c.Bytes); err != nil {
				var fault *decodertest.Fault
				if errors.As(err, &fault) {
					t.Fatal(fault)
				}
				return
			}
		}
	})
}
