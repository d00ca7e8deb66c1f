package postgres_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/postgres"
	"github.com/jackc/pgx/v5"
)

// run starts a proxy that allows everything and logs in through it.
func session(t *testing.T, want decoders.Want) (*proxy, *client) {
	t.Helper()
	p := startProxy(t, want, allow, 0)
	t.Cleanup(func() {
		for _, err := range p.failures() {
			t.Error(err)
		}
	})
	return p, dial(t, p.addr(), "postgres", "application_name", "tests")
}

func TestLoginIsAskedWithWhatTheClientSaysOfItself(t *testing.T) {
	for _, tt := range []struct {
		params      []string
		want        string
		exceptional bool
	}{
		{[]string{"user", "postgres"}, "postgres postgres  false", false},
		{[]string{"user", "postgres", "database", "template1", "application_name", "app"}, "postgres template1 app false", false},
		{[]string{"user", "postgres", "replication", "true"}, "postgres postgres  true", true},
		{[]string{"user", "postgres", "replication", "database"}, "postgres postgres  true", true},
		{[]string{"user", "postgres", "replication", "off"}, "postgres postgres  false", false},
	} {
		p := startProxy(t, decoders.Want{}, allow, 0)
		c := connect(t, p.addr())
		c.send(startup(tt.params...))
		c.until('Z')
		ev := p.seen(decoders.Login)[0].ev
		got := fmt.Sprintln(ev.Facts.Field("login.user"), ev.Facts.Field("login.database"), ev.Facts.Field("login.application"), ev.Facts.Field("login.replication"))
		if strings.TrimSpace(got) != tt.want || (ev.Exceptional != "") != tt.exceptional {
			t.Errorf("%q: %s, exceptional %q, want %s", tt.params, got, ev.Exceptional, tt.want)
		}
	}
}

func TestARefusedLoginIsTold(t *testing.T) {
	p := startProxy(t, decoders.Want{}, func(*decoders.Event) (*decoders.Refusal, []decoders.Mask) {
		return &decoders.Refusal{Rule: "r", Reason: "not you"}, nil
	}, 0)
	c := connect(t, p.addr())
	c.send(startup("user", "postgres"))
	r, err := c.next()
	if err != nil || field(r.body, 'C') != "28000" || field(r.body, 'S') != "FATAL" || !strings.HasPrefix(field(r.body, 'M'), "not you") {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := c.next(); err != io.EOF {
		t.Errorf("then %v, want EOF", err)
	}
}

func TestEncryptionIsAnsweredNoAndTheLoginGoesOn(t *testing.T) {
	for chunk := range 4 {
		p := startProxy(t, decoders.Want{}, allow, chunk)
		c := connect(t, p.addr())
		for _, code := range []uint32{80877104, 80877103} {
			c.send(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, code))
			var answer [1]byte
			if _, err := io.ReadFull(c.conn, answer[:]); err != nil || answer[0] != 'N' {
				t.Fatalf("request %d: %q, %v, want N", code, answer, err)
			}
		}
		c.send(startup("user", "postgres"))
		c.until('Z')
	}
}

func TestWhatIsNotPostgresIsAnError(t *testing.T) {
	for _, head := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x08\x00\x02\x00\x00",
		"\x7f\xff\xff\xff\x00\x03\x00\x00", "\x00\x00\x00\x09\x04\xd2\x16\x2f\x00", "\x00\x00\x00\x0d\x00\x03\x00\x00user\x00",
	} {
		d := postgres.Protocol.New(decoders.Want{})
		if step, err := d.Next(decoders.FromClient, []byte(head)); err == nil {
			t.Errorf("%q: %+v, want an error", head, step)
		}
	}
	if _, err := postgres.Protocol.New(decoders.Want{}).Next(decoders.FromClient, []byte{0x16}); err == nil || !strings.Contains(err.Error(), "sslmode") {
		t.Errorf("TLS: %v, want what to set instead", err)
	}
}

func TestSniffKnowsEveryFirstMessage(t *testing.T) {
	for _, tt := range []struct {
		head string
		want decoders.Match
	}{
		{"", decoders.Maybe},
		{"\x00\x00", decoders.Maybe},
		{"\x00\x00\x00\x08\x04", decoders.Maybe},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", decoders.Yes},
		{"\x00\x00\x00\x08\x04\xd2\x16\x30", decoders.Yes},
		{"\x00\x00\x00\x10\x04\xd2\x16\x2e", decoders.Yes},
		{"\x00\x00\x00\x20\x00\x03\x00\x00u", decoders.Yes},
		{"\x00\x00\x00\x20\x00\x03\x00\x02u", decoders.Yes},
		{"\x00\x00\x00\x20\x00\x02\x00\x00", decoders.No},
		{"GET ", decoders.No},
		{"\x16\x03\x01", decoders.No},
		{"*1\r\n$4\r\nPING\r\n", decoders.No},
	} {
		if got := postgres.Protocol.Sniff(decoders.FromClient, []byte(tt.head)); got != tt.want {
			t.Errorf("Sniff(%q) = %d, want %d", tt.head, got, tt.want)
		}
	}
}

func TestCancelIsAskedAndStopsTheQuery(t *testing.T) {
	p, c := session(t, decoders.Want{})
	c.send(msg('Q', "select pg_sleep(60)", 0))
	watch := dial(t, serverAddr(t), "postgres")
	for values(watch.run("select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'"))[0] != "1" {
	}
	other := connect(t, p.addr())
	other.send(join([]byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e}, c.key))
	replies := c.until('Z')
	if got := field(replies[len(replies)-2].body, 'C'); got != "57014" {
		t.Errorf("%v, want 57014", replies)
	}
	if got := len(p.seen(decoders.Cancel)); got != 1 {
		t.Errorf("%d cancels were asked about, want 1", got)
	}
}

func TestARefusedCancelDoesNothing(t *testing.T) {
	p := startProxy(t, decoders.Want{}, func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
		if ev.Kind == decoders.Cancel {
			return &decoders.Refusal{Rule: "r"}, nil
		}
		return nil, nil
	}, 0)
	c := connect(t, p.addr())
	c.send([]byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 1})
	if n, err := c.conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d bytes, %v, want EOF", n, err)
	}
}

func TestOutcomesSayWhatCameOfEachRequest(t *testing.T) {
	p, c := session(t, decoders.Want{})
	c.run("create temp table o (id int primary key, note text)")
	for _, tt := range []struct {
		name string
		send []byte
		want []string
	}{
		{"rows", msg('Q', "select generate_series(1, 3)", 0), []string{"3 SELECT 3"}},
		{"several", msg('Q', "insert into o values (1); select 1; select 2", 0), []string{"2 INSERT 0 1; SELECT 1; SELECT 1"}},
		{"none", msg('Q', " ; ", 0), []string{"0 "}},
		{"error", msg('Q', "select 1/0", 0), []string{"0  22012 division by zero"}},
		{"copy out", msg('Q', "copy (select generate_series(1, 5)) to stdout", 0), []string{"5 COPY 5"}},
		{"copy in", join(msg('Q', "copy o from stdin", 0), msg('d', "5\ta\n6\tb\n"), msg('c')), []string{"2 COPY 2"}},
		{"extended", join(parseMsg("", "select generate_series(1, 4)"), bindMsg("", ""), msg('E', "", 0, int32(3)), executeMsg(""), syncMsg()), []string{"3 ", "1 SELECT 1"}},
		{
			"skipped", join(parseMsg("", "select 1/0"), bindMsg("", ""), executeMsg(""), executeMsg(""), parseMsg("", "select 1"), executeMsg(""), syncMsg()),
			[]string{"0  22012 division by zero skipped", "0  skipped 2 more"},
		},
		{"failed parse", join(parseMsg("", "select )"), bindMsg("", ""), executeMsg(""), syncMsg()), []string{"0  42601 syntax error at or near \")\"", "0  skipped"}},
		{"function", msg('F', int32(1598), int16(0), int16(0), int16(0)), []string{"1 "}},
		{"secret", msg('Q', "alter role nobody_here password 'hunter2'", 0), []string{"0  42704"}},
	} {
		p.reset()
		c.send(tt.send)
		c.ready(1)
		var got []string
		for _, s := range p.seen(decoders.Outcome) {
			r := s.ev.Result
			text := fmt.Sprintf("%d %s", r.Rows, r.Tag)
			if r.Code != "" {
				text += " " + strings.TrimSpace(r.Code+" "+r.Message)
			}
			if r.Skipped {
				text += " skipped"
			}
			if r.Through != 0 {
				text += fmt.Sprintf(" %d more", r.Through-s.ev.Seq)
			}
			got = append(got, text)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		for _, s := range p.seen(^decoders.Kinds(0)) {
			if strings.Contains(string(s.ev.Record), "hunter2") {
				t.Errorf("record %q has a password", s.ev.Record)
			}
		}
	}
}

func TestExecuteIsJudgedByThePreparedText(t *testing.T) {
	p, c := session(t, decoders.Want{})
	c.send(join(
		parseMsg("a", "select 'a'"), parseMsg("b", "select 'b'"), bindMsg("", "a"), executeMsg(""), bindMsg("p", "b"), executeMsg("p"),
		closeMsg('S', "a"), parseMsg("a", "select 'new a'"), bindMsg("", "a"), executeMsg(""), syncMsg(),
		parseMsg("b", "select 'not b'"), syncMsg(), // fails: b exists
		bindMsg("", "b"), executeMsg(""), syncMsg(),
		msg('Q', "deallocate a; prepare a as select 'from SQL'", 0),
		bindMsg("", "a"), executeMsg(""), syncMsg(),
	))
	c.ready(5)
	var got []string
	prepared := map[uint64]string{}
	for _, s := range p.seen(decoders.Prepare | decoders.Request) {
		switch {
		case s.ev.Kind == decoders.Prepare:
			prepared[s.ev.Seq] = string(s.ev.Text)
		case s.ev.Unclassified != "":
			got = append(got, "unclassified")
		default:
			got = append(got, string(s.ev.Text))
			if s.ev.Ref != 0 && prepared[s.ev.Ref] != string(s.ev.Text) {
				t.Errorf("%q refers to %q", s.ev.Text, prepared[s.ev.Ref])
			}
		}
	}
	want := []string{"select 'a'", "select 'b'", "select 'new a'", "select 'b'", "deallocate a; prepare a as select 'from SQL'", "unclassified"}
	if !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

func TestAMegabyteLiteralIsJudgedWhole(t *testing.T) {
	p, c := session(t, decoders.Want{})
	text := "select length('" + strings.Repeat("x", 1<<20) + "')"
	if got := values(c.run(text)); !slices.Equal(got, []string{"1048576"}) {
		t.Errorf("rows %q", got)
	}
	if got := p.seen(decoders.Request)[0].ev.Text; string(got) != text {
		t.Errorf("text of %d bytes, want %d", len(got), len(text))
	}
}

func TestAStatementThatIsTooLongIsUnclassified(t *testing.T) {
	for _, chunk := range []int{0, 7} {
		p := startProxy(t, decoders.Want{MaxText: 100}, func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
			if ev.Unclassified != "" {
				return &decoders.Refusal{Rule: "unclassified", Reason: ev.Unclassified}, nil
			}
			return nil, nil
		}, chunk)
		c := dial(t, p.addr(), "postgres")
		long := "select '" + strings.Repeat("x", 1000) + "'"
		if got := types(c.run(long)); got != "EZ" {
			t.Errorf("simple: %s, want EZ", got)
		}
		c.send(join(parseMsg("", long), bindMsg("", ""), executeMsg(""), syncMsg()))
		if got := types(c.until('Z')); got != "EZ" {
			t.Errorf("extended: %s, want EZ", got)
		}
		if got := values(c.run("select 'in step'")); !slices.Equal(got, []string{"in step"}) {
			t.Errorf("afterwards %q", got)
		}
	}
}

func TestAClientThatNeverReadsIsMadeToWait(t *testing.T) {
	p, c := session(t, decoders.Want{})
	flood := join(slices.Repeat(join(parseMsg("", "select 1"), bindMsg("", ""), executeMsg("")), 20_000), syncMsg())
	go c.send(flood)
	if got := len(c.until('Z')); got != 20_000*4+1 {
		t.Errorf("%d answers, want %d", got, 20_000*4+1)
	}
	if got := len(p.seen(decoders.Outcome)); got != 20_000 {
		t.Errorf("%d outcomes, want 20000", got)
	}
}

func TestNotificationsAndNoticesComeBetweenAnyTwoMessages(t *testing.T) {
	_, c := session(t, decoders.Want{})
	c.run("listen n")
	_, other := session(t, decoders.Want{})
	other.run("notify n, 'hello'")
	if r := c.until('A'); !strings.Contains(string(r[0].body), "hello") {
		t.Errorf("notification %v", r)
	}
	c.send(join(parseMsg("", "do $$ begin raise notice 'x'; end $$"), bindMsg("", ""), executeMsg(""), syncMsg()))
	if got := types(c.until('Z')); got != "12NCZ" {
		t.Errorf("%s, want 12NCZ", got)
	}
}

func TestTheServersLastWordPasses(t *testing.T) {
	_, c := session(t, decoders.Want{})
	c.send(msg('Q', "select pg_terminate_backend(pg_backend_pid())", 0))
	r := c.until('E')
	if got := field(r[len(r)-1].body, 'C'); got != "57P01" {
		t.Errorf("%v, want 57P01", r)
	}
}

func TestEncodingsThatHideASCIIAreUnclassified(t *testing.T) {
	p, c := session(t, decoders.Want{})
	c.run("set client_encoding = 'SJIS'")
	c.run("select E'\x83\x5c'")
	requests := p.seen(decoders.Request)
	if got := requests[len(requests)-1].ev.Unclassified; !strings.Contains(got, "SJIS") {
		t.Errorf("unclassified %q, want it to name SJIS", got)
	}
}

func TestLogicalReplicationStreamsBothWays(t *testing.T) {
	p := startProxy(t, decoders.Want{}, allow, 0)
	c := dial(t, p.addr(), "postgres", "replication", "database")
	if r := c.run("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput"); types(r) != "TDCZ" {
		t.Fatalf("%v", r)
	}
	c.send(msg('Q', `START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'none')`, 0))
	c.until('W')
	c.send(msg('d', "r", int32(0), int32(0), int32(0), int32(0), int32(0), int32(0), int32(0), int32(0), 1))
	c.until('d')
	c.send(msg('c'))
	c.until('Z')
	for _, err := range p.failures() {
		t.Error(err)
	}
}

func TestPgxBatchesAndCopiesWork(t *testing.T) {
	p := startProxy(t, decoders.Want{}, allow, 0)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=prefer", p.addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create temp table b (id int, note text)"); err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	for i := range 10_000 {
		rows = append(rows, []any{i, "note"})
	}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"b"}, []string{"id", "note"}, pgx.CopyFromRows(rows))
	if err != nil || n != 10_000 {
		t.Fatalf("copied %d, %v", n, err)
	}
	batch := new(pgx.Batch)
	for i := range 50 {
		batch.Queue("select count(*) from b where id < $1", i).QueryRow(func(row pgx.Row) error {
			var got int
			if err := row.Scan(&got); err != nil || got != i {
				t.Errorf("batch %d: %d, %v", i, got, err)
			}
			return nil
		})
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}
