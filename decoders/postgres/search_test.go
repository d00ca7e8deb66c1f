package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/decodertest"
	ways "agentd.dev/decoders/masks"
	"agentd.dev/decoders/patterns"
	"agentd.dev/decoders/postgres"
	"github.com/jackc/pgx/v5"
)

// searchFor is a search for all patterns.
func searchFor(way decoders.Way) *decoders.Search {
	s := &decoders.Search{Anything: way == nil, Finder: patterns.New(patterns.All...)}
	for _, p := range patterns.All {
		s.Kinds = append(s.Kinds, decoders.Kind{Name: p.Name, Way: way})
	}
	return s
}

// searching allows everything, in sessions that are searched.
func searching(way decoders.Way) judge {
	return func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
		if ev.Unclassified != "" {
			return &decoders.Refusal{Rule: "unclassified", Reason: ev.Unclassified}, nil
		}
		if ev.Kind == decoders.Login {
			return nil, []decoders.Mask{{Index: decoders.EveryColumn, Search: searchFor(way)}}
		}
		return nil, nil
	}
}

const spread = `
	CREATE TABLE notes (id int, t text, v varchar(20), j json, jb jsonb, arr text[], big int8, num numeric, bin bytea, cards int8[], ip inet, docs jsonb[]);
	INSERT INTO notes VALUES (1, 'nothing here', 'none', '{"a": 1}', '{"a": 1}', '{x,"y z"}', 4711, 12.5, '\x00ff', '{1}', NULL, '{}');
	INSERT INTO notes VALUES (2, 'write to ada@example.com, or 4111 1111 1111 1111', 'ada@example.com', '{"e": "ada@example.com", "pan": 4111111111111111}',
		'{"e": ["ada@example.com", "x"]}', '{x,"ada@example.com, y",NULL}', 4111111111111111, 4111111111111111, 'ada@example.com'::bytea, '{5,4111111111111111}', '10.1.2.3',
		array['{"e": "ada@example.com"}'::jsonb]);
	INSERT INTO notes VALUES (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
	CREATE UNIQUE INDEX ON notes (v);
	CREATE TYPE contact AS (who text, mail text);
	CREATE EXTENSION IF NOT EXISTS hstore`

// shows reports a value that should have been found, in any form.
func shows(b []byte) bool {
	for _, secret := range []string{"ada@example", "4111", "6164614065"} {
		if bytes.Contains(b, []byte(secret)) {
			return true
		}
	}
	// the number as an int8, and as the groups of a numeric
	return bytes.Contains(b, []byte("\x00\x0e\x9a\xfd\x48\xac\x51\xc7")) || bytes.Contains(b, []byte("\x10\x0f\x04\x57\x04\x57\x04\x57"))
}

func TestWhatIsFoundIsReplacedInEveryTypeAndFormat(t *testing.T) {
	database := database(t, spread)
	p := startProxy(t, decoders.Want{Searches: []string{"all"}}, searching(ways.Text("[masked]")), 0)
	for _, mode := range []string{"simple", "extended", "binary", "statement", "undescribed"} {
		for _, text := range []string{
			"select * from notes order by id", "select row(1, t) from notes where id = 2", "select row('ada', v)::contact from notes where id = 2", "select hstore(t, v) from notes where id = 2",
			"select array_agg(n) from notes n", "select to_jsonb(n) - 'bin' from notes n", "select row(t, v, j, jb, arr, big, num, cards)::text from notes n", "select t || ' ' || v from notes where id = 2", "select v::name from notes where id = 2",
			"explain (costs off) select * from notes where t = 'ada@example.com'", "select xmlelement(name a, v) from notes where id = 2",
		} {
			c := dial(t, p.addr(), database)
			replies := ask(c, mode, text)
			for _, r := range replies {
				if shows(r.body) && r.typ != 'T' {
					t.Errorf("%s %s: %c %q shows what should have been found", mode, text, r.typ, r.body)
				}
			}
			if types(replies[len(replies)-1:]) != "Z" || slices.ContainsFunc(replies, func(r reply) bool { return r.typ == 'E' }) {
				t.Errorf("%s %s: %v", mode, text, replies)
			}
			c.conn.Close()
		}
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}

// TestWhatIsAroundWhatIsFoundStays, however the bytes were cut on their way.
func TestWhatIsAroundWhatIsFoundStays(t *testing.T) {
	database := database(t, spread)
	want := []string{
		`1|nothing here|none|{"a": 1}|{"a": 1}|{x,"y z"}|4711|12.5|\x00ff|{1}|NULL|{}`,
		`2|write to [masked], or [masked]|[masked]|{"e": "[masked]", "pan": "[masked]"}|{"e": ["[masked]", "x"]}|{x,"[masked], y",NULL}|NULL|NULL|\x5b6d61736b65645d|{5,NULL}|NULL|{"{\"e\": \"[masked]\"}"}`,
		"3" + strings.Repeat("|NULL", 11),
	}
	for _, chunk := range []int{0, 1, 7, 100} {
		p := startProxy(t, decoders.Want{Searches: []string{"all"}}, searching(ways.Text("[masked]")), chunk)
		c := dial(t, p.addr(), database)
		if got := values(c.run("select * from notes order by id")); !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: got  %q\nwant %q", chunk, got, want)
		}
		if got := c.run("copy (select id, v from notes order by id) to stdout (format binary)"); !bytes.Contains(got[2].body, []byte("\x00\x00\x00\x08[masked]")) {
			t.Errorf("in pieces of %d: copied are %v", chunk, got)
		}
		counted := p.seen(decoders.Outcome)
		for i, want := range []string{"13 card 5 email 7 ip 1", "1 email 1"} {
			r := counted[len(counted)-2+i].ev.Result
			slices.SortFunc(r.By, func(a, b decoders.Count) int { return strings.Compare(a.Name, b.Name) })
			got := fmt.Sprint(r.Masked)
			for _, c := range r.By {
				got += fmt.Sprintf(" %s %d", c.Name, c.N)
			}
			if got != want {
				t.Errorf("in pieces of %d: counted %s, want %s", chunk, got, want)
			}
		}
		c.conn.Close()
		for _, err := range p.failures() {
			t.Error(err)
		}
	}
}

// TestDriversReadWhatIsSearched: pgx, in binary, into its own types.
func TestDriversReadWhatIsSearched(t *testing.T) {
	database := database(t, spread)
	for _, way := range []decoders.Way{nil, ways.Text("[masked]"), ways.Hash{Key: testKey}, ways.Partial{Last: 4}} {
		p := startProxy(t, decoders.Want{Searches: []string{"all"}}, searching(way), 0)
		conn, err := pgx.Connect(context.Background(), fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.addr(), database))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			rows, err := conn.Query(context.Background(), "select id, t, v, j, jb, arr, big, num, bin, cards, docs from notes order by id")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for rows.Next() {
				all, err := rows.Values()
				if err != nil {
					t.Errorf("%T: %v", way, err)
				}
				n++
				if text := fmt.Sprint(all...); shows([]byte(text)) {
					t.Errorf("%T: %s shows what should have been found", way, text)
				}
			}
			if rows.Err() != nil || n != 3 {
				t.Errorf("%T: %d rows, %v", way, n, rows.Err())
			}
		}
		conn.Close(context.Background())
		for _, err := range p.failures() {
			t.Errorf("%T: %v", way, err)
		}
	}
}

func TestCopyIsSearchedInAllItsForms(t *testing.T) {
	database := database(t, spread)
	p := startProxy(t, decoders.Want{Searches: []string{"all"}}, searching(ways.Text("[masked]")), 0)
	for _, text := range []string{
		"copy notes to stdout", "copy notes to stdout (format csv, header)", "copy notes to stdout (format binary)", "copy (select v, big, num from notes) to stdout (format binary)",
		`copy (select E'back\\slash ada@example.com') to stdout`, `copy (select E'a\nb\tada@example.com\n') to stdout`, "copy (select t, t from notes) to stdout (format csv, force_quote *)",
	} {
		c := dial(t, p.addr(), database)
		replies := c.run(text)
		for _, r := range replies {
			if shows(r.body) {
				t.Errorf("%s: %c %q shows what should have been found", text, r.typ, r.body)
			}
		}
		if !slices.ContainsFunc(replies, func(r reply) bool { return r.typ == 'd' && bytes.Contains(r.body, []byte("[masked]")) }) {
			t.Errorf("%s: %v, want rows with [masked]", text, replies)
		}
		if got := values(c.run("select 1")); !slices.Equal(got, []string{"1"}) {
			t.Errorf("%s: afterwards %q", text, got)
		}
		c.conn.Close()
	}
	c := dial(t, p.addr(), database)
	for _, text := range []string{"copy notes to stdout (delimiter '@')", "copy notes to stdout (format csv, quote '@')", "copy notes to stdout delimiters '@'", "copy notes to stdout (format csv, escape '1')"} {
		if got := c.run(text); types(got) != "EZ" {
			t.Errorf("%s: %v, want a refusal", text, got)
		}
	}
	got := c.run("copy (select id, t from notes order by id) to stdout")
	if len(got) < 4 || string(got[1].body) != "1\tnothing here\n" || string(got[2].body) != "2\twrite to [masked], or [masked]\n" || string(got[3].body) != "3\t\\N\n" {
		t.Errorf("rows are %v", got)
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}

// TestCopyInBinaryCanBeReadAgain: the server takes what came out.
func TestCopyInBinaryCanBeReadAgain(t *testing.T) {
	database := database(t, spread)
	p := startProxy(t, decoders.Want{Searches: []string{"all"}}, searching(ways.Text("[masked]")), 0)
	ctx := context.Background()
	from, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.addr(), database))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close(ctx)
	to, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", serverAddr(t), database))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close(ctx)
	for _, format := range []string{"text", "csv", "binary"} {
		columns := "id, t, v, j, jb, arr, bin"
		if format == "binary" {
			columns = "id, t, v, j, jb, big, num, cards"
		}
		var copied bytes.Buffer
		if _, err := from.PgConn().CopyTo(ctx, &copied, "copy notes ("+columns+") to stdout (format "+format+")"); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Exec(ctx, "create temp table again as select "+columns+" from notes with no data"); err != nil {
			t.Fatal(err)
		}
		if _, err := to.PgConn().CopyFrom(ctx, &copied, "copy again from stdin (format "+format+")"); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if _, err := to.Exec(ctx, "drop table again"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrorsNoticesAndNotificationsAreSearched(t *testing.T) {
	database := database(t, spread)
	p := startProxy(t, decoders.Want{Searches: []string{"all"}}, searching(ways.Text("[masked]")), 0)
	c := dial(t, p.addr(), database)
	for _, tt := range []struct{ text, want string }{
		{"insert into notes (v) values ('ada@example.com')", "EZ"},
		{"select t::int from notes where id = 2", "TEZ"},
		{"begin; declare c cursor for select 1; fetch 2 c; do $$ begin raise notice 'I see %', (select v from notes where id = 2); end $$; commit", ""},
		{"do $$ begin raise exception 'no: %', (select v from notes where id = 2) using detail = '4111 1111 1111 1111', hint = 'ada@example.com'; end $$", "EZ"},
		{"listen n; notify n, 'ada@example.com'", ""},
		{"select set_config('application_name', v, false) from notes where id = 2", "TDSCZ"},
		{"select 'ada@example.com' from nowhere", "EZ"},
	} {
		replies := c.run(tt.text)
		for _, r := range replies {
			if shows(r.body) {
				t.Errorf("%s: %c %q shows what should have been found", tt.text, r.typ, r.body)
			}
		}
		if got := types(replies); tt.want != "" && len(got) != len(tt.want) {
			t.Errorf("%s: %v, want %s", tt.text, replies, tt.want)
		}
		if r := replies[0]; r.typ == 'E' && field(r.body, 'C') == "" {
			t.Errorf("%s: %v has no code", tt.text, r)
		}
	}
	c.send(join(parseMsg("", "insert into notes (v) values ('ada@example.com')"), bindMsg("", ""), executeMsg(""), parseMsg("", "select 1"), syncMsg()))
	if got := c.until('Z'); types(got) != "12EZ" || shows(got[2].body) {
		t.Errorf("in a pipeline: %v", got)
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
	for _, s := range p.seen(^decoders.Kinds(0)) {
		if shows(s.ev.Record) || shows([]byte(s.ev.Result.Message)) {
			t.Errorf("%s: %q, %q would be recorded", s.ev.Kind, s.ev.Record, s.ev.Result.Message)
		}
		if s.ev.Kind == decoders.Outcome && s.ev.Result.Code == "23505" && !strings.Contains(s.ev.Result.Message, "duplicate key") {
			t.Errorf("the message is %q", s.ev.Result.Message)
		}
	}
}

// TestOneColumnAloneIsSearched: a mask of a column that has a search.
func TestOneColumnAloneIsSearched(t *testing.T) {
	database := database(t, spread)
	want := decoders.Want{Columns: []decoders.ColumnName{{Schema: "public", Table: "notes", Column: "t"}}}
	p := startProxy(t, want, func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
		var masks []decoders.Mask
		for _, c := range ev.Columns {
			masks = append(masks, decoders.Mask{Index: c.Index, Search: searchFor(ways.Text("***"))})
		}
		return nil, masks
	}, 0)
	c := dial(t, p.addr(), database)
	got := values(c.run("select id, t, v, upper(t) from notes where id < 3 order by id"))
	want2 := []string{"1|nothing here|none|NOTHING HERE", "2|write to ***, or ***|ada@example.com|WRITE TO ***, OR ***"}
	if !slices.Equal(got, want2) {
		t.Errorf("got %q, want %q", got, want2)
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}

// FuzzSearched: whatever the server of a searched session says, the decoder
// survives it and keeps to what the relay expects.
func FuzzSearched(f *testing.F) {
	description := func(format int16, oids ...int32) []byte {
		parts := []any{int16(len(oids))}
		for _, oid := range oids {
			parts = append(parts, "c", 0, int32(0), int16(0), oid, int16(-1), int32(-1), format)
		}
		return msg('T', parts...)
	}
	array := msg('x', int32(1), int32(0), int32(25), int32(1), int32(1), int32(15), "ada@example.com")[5:]
	jsonb := append([]byte{1}, `{"e": "ada@example.com", "n": 4111111111111111}`...)
	number := msg('x', int16(4), int16(3), int16(0), int16(0), int16(4111), int16(1111), int16(1111), int16(1111))[5:]
	for _, v := range []struct {
		oid    int32
		format int16
		value  []byte
	}{
		{25, 0, []byte("to ada@example.com")},
		{1009, 1, array},
		{1009, 0, []byte(`{"a b",ada@example.com}`)},
		{3802, 1, jsonb},
		{1700, 1, number},
		{20, 1, []byte("\x00\x0e\x9a\xfd\x48\xac\x51\xc7")},
		{17, 0, []byte(`\x616461406578616d706c652e636f6d`)},
		{2249, 1, append([]byte("\x00\x00\x00\x01\x00\x00\x00\x19\x00\x00\x00\x0f"), "ada@example.com"...)},
		{869, 0, []byte("10.1.2.3")},
		{869, 1, []byte("\x02\x20\x00\x04\x0a\x01\x02\x03")},
	} {
		f.Add(join(description(v.format, v.oid), msg('D', int16(1), int32(len(v.value)), v.value), msg('C', "SELECT 1", 0), msg('Z', "I")))
	}
	f.Add(join(msg('H', 0, int16(1), int16(0)), msg('d', "1\tada@example.com\n"), msg('c'), msg('C', "COPY 1", 0), msg('Z', "I")))
	f.Add(join(msg('H', 1, int16(1), int16(1)), msg('d', "PGCOPY\n\xff\r\n", 0, int32(0), int32(0), int16(1), int32(15), "ada@example.com"), msg('d', int16(-1)), msg('c')))
	f.Add(msg('E', "SERROR", 0, "C42601", 0, "Mada@example.com", 0, 0))
	f.Add(msg('A', int32(1), "n", 0, "ada@example.com", 0))
	f.Add(msg('S', "application_name", 0, "ada@example.com", 0))
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, way := range []decoders.Way{ways.Text("[masked]"), ways.Hash{Key: testKey}, ways.Digits{Key: testKey}, nil} {
			w := &decodertest.Wire{Decoder: postgres.Protocol.New(decoders.Want{}), Fields: postgres.Protocol.Fields, MaxMore: 65 << 20}
			w.Judge = func(ev *decoders.Event) decodertest.Verdict {
				if ev.Kind == decoders.Login {
					return decodertest.Verdict{Masks: []decoders.Mask{{Index: decoders.EveryColumn, Search: searchFor(way)}}}
				}
				return decodertest.Verdict{}
			}
			for _, c := range []decodertest.Chunk{
				{Dir: decoders.FromClient, Bytes: startup("user", "u")},
				{Dir: decoders.FromServer, Bytes: join(msg('R', int32(0)), msg('Z', "I"))},
				{Dir: decoders.FromClient, Bytes: msg('Q', "copy t to stdout", 0)},
				{Dir: decoders.FromServer, Bytes: said},
			} {
				if err := w.Send(c.Dir, c.Bytes); err != nil {
					var fault *decodertest.Fault
					if errors.As(err, &fault) {
						t.Fatal(fault)
					}
					break
				}
			}
		}
	})
}
