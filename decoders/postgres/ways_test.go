package postgres_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
	ways "agentd.dev/decoders/masks"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

var testKey = ways.NewKey([]byte("the key of these tests"))

// everyType has a column of each type that values are replaced in.
const everyType = `
	CREATE TABLE every (id int, t text, v varchar(12), c char(6), n name, i2 int2, i4 int4, i8 int8, num numeric(20,2), f4 float4, f8 float8,
		b bool, d date, ts timestamp, tz timestamptz, u uuid, ip inet, net cidr, j json, jb jsonb, bin bytea, arr text[], big int8[], iv interval, pt point);
	INSERT INTO every VALUES (1, 'Ada Lovelace 1815', 'ada 1234', 'abc123', 'ada', 32767, 2147483647, 4111111111111111, -12345.67, 1.5, 2.25,
		true, '1815-12-10', '1815-12-10 01:02:03.5', '1815-12-10 01:02:03Z', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.1.2.3', '10.1.0.0/16',
		'{"a": "secret"}', '{"a": "secret"}', '\x736563726574', '{ada,"b c"}', '{4111111111111111,5}', '1 day', '(1,2)')`

var everyColumn = []string{"t", "v", "c", "n", "i2", "i4", "i8", "num", "f4", "f8", "b", "d", "ts", "tz", "u", "ip", "net", "j", "jb", "bin", "arr", "big", "iv", "pt"}

// kept are the columns of everyType in which each way leaves something other
// than NULL.
var kept = map[string]struct {
	way     decoders.Way
	columns string
}{
	"null":   {nil, ""},
	"text":   {ways.Text("[masked]"), "t v c n j jb bin"},
	"number": {ways.Text("42"), "t v c n i2 i4 i8 num f4 f8 j jb bin"},
	"date":   {ways.Text("2000-01-01"), "t v c n d ts tz j jb bin"},
	"uuid":   {ways.Text("00000000-0000-0000-0000-000000000000"), "t v c n u j jb bin"},
	"ip":     {ways.Text("192.0.2.0"), "t v c n ip net j jb bin"},
	"keep":   {ways.Partial{Last: 2}, "t v c n bin"},
	"hash":   {ways.Hash{Key: testKey}, "t v c n i2 i4 i8 u j jb bin"},
	"digits": {ways.Digits{Key: testKey}, "t v c i2 i4 i8 num f4 f8 ip"},
}

func database(t testing.TB, statements string) string {
	t.Helper()
	name := strings.ToLower(t.Name())
	admin := dial(t, serverAddr(t), "postgres")
	admin.run("CREATE DATABASE " + name)
	admin.conn.Close()
	c := dial(t, serverAddr(t), name)
	defer c.conn.Close()
	for _, r := range c.run(statements) {
		if r.typ == 'E' {
			t.Fatal(field(r.body, 'M'))
		}
	}
	return name
}

func maskEvery(way decoders.Way) judge {
	return func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
		var masks []decoders.Mask
		for _, c := range ev.Columns {
			masks = append(masks, decoders.Mask{Index: c.Index, Way: way, Name: "rule"})
		}
		return nil, masks
	}
}

// TestEveryReplacementIsAValueOfItsType: a client reads all of them, in text
// and in binary, into what it would have read the value into.
func TestEveryReplacementIsAValueOfItsType(t *testing.T) {
	database := database(t, everyType)
	var want decoders.Want
	for _, column := range everyColumn {
		want.Columns = append(want.Columns, decoders.ColumnName{Schema: "public", Table: "every", Column: column})
	}
	ctx := context.Background()
	for name, tt := range kept {
		p := startProxy(t, want, maskEvery(tt.way), 0)
		conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.addr(), database))
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
			into := destinations()
			formats := pgx.QueryResultFormats{format}
			text := "select " + strings.Join(everyColumn, ", ") + " from every"
			if err := conn.QueryRow(ctx, text, formats).Scan(into...); err != nil {
				t.Errorf("%s, format %d: %v", name, format, err)
				continue
			}
			var got []string
			for i, column := range everyColumn {
				if v := reflect.ValueOf(into[i]).Elem(); !v.IsNil() {
					got = append(got, column)
				}
			}
			if want := strings.Fields(tt.columns); !slices.Equal(got, want) {
				t.Errorf("%s, format %d: not NULL are %q, want %q", name, format, got, want)
			}
			check(t, name, into)
		}
		conn.Close(ctx)
		for _, err := range p.failures() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// destinations are what pgx reads everyColumn into.
func destinations() []any {
	return []any{
		new(*string), new(*string), new(*string), new(*string), new(*int16), new(*int32), new(*int64), new(*pgtype.Numeric), new(*float32), new(*float64),
		new(*bool), new(*time.Time), new(*time.Time), new(*time.Time), new(*pgtype.UUID), new(*netip.Prefix), new(*netip.Prefix), new(*any), new(*any), new([]byte),
		new([]string), new([]int64), new(*pgtype.Interval), new(*pgtype.Point),
	}
}

// check looks closer at some replacements.
func check(t *testing.T, way string, into []any) {
	t.Helper()
	text := func(i int) string { return **into[i].(**string) }
	switch way {
	case "text":
		if got := text(0) + text(1) + text(2); got != "[masked][masked][maske" {
			t.Errorf("texts are %q", got)
		}
		if got := **into[17].(**any); got != "[masked]" {
			t.Errorf("json is %v", got)
		}
	case "keep":
		if got := text(0); got != "*** ******** **15" {
			t.Errorf("text is %q", got)
		}
	case "hash":
		if got := text(0); len(got) != 32 || len(text(1)) != 12 {
			t.Errorf("hashes are %q and %q", got, text(1))
		}
		if u := **into[14].(**pgtype.UUID); u.Bytes[6]>>4 != 8 || u.Bytes[8]>>6 != 2 {
			t.Errorf("uuid is %x, want one of version 8", u.Bytes)
		}
	case "digits":
		i2, i4, i8 := **into[4].(**int16), **into[5].(**int32), **into[6].(**int64)
		if i2 < 10_000 || i4 < 1_000_000_000 || i8 < 1e15 || i8 >= 1e16 || i8 == 4111111111111111 {
			t.Errorf("integers are %d, %d and %d, want as many digits as before", i2, i4, i8)
		}
		n := **into[7].(**pgtype.Numeric)
		if f, _ := n.Float64Value(); f.Float64 > -10_000 || f.Float64 <= -100_000 {
			t.Errorf("numeric is %v, want five digits and a minus", f.Float64)
		}
	case "date":
		if got := (**into[13].(**time.Time)).UTC().Format(time.DateOnly); got != "2000-01-01" {
			t.Errorf("timestamptz is %s", got)
		}
	}
}

func TestEqualValuesStayEqualWhateverTheirFormat(t *testing.T) {
	database := database(t, everyType)
	want := decoders.Want{Columns: []decoders.ColumnName{{Schema: "public", Table: "every", Column: "i8"}, {Schema: "public", Table: "every", Column: "u"}, {Schema: "public", Table: "every", Column: "num"}}}
	for _, way := range []decoders.Way{ways.Hash{Key: testKey}, ways.Digits{Key: testKey}} {
		p := startProxy(t, want, maskEvery(way), 0)
		conn, err := pgx.Connect(context.Background(), fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.addr(), database))
		if err != nil {
			t.Fatal(err)
		}
		var got [2][3]any
		for format := range got {
			var i8 *int64
			var u *pgtype.UUID
			var num *pgtype.Numeric
			if err := conn.QueryRow(context.Background(), "select i8, u, num from every", pgx.QueryResultFormats{int16(format)}).Scan(&i8, &u, &num); err != nil {
				t.Fatal(err)
			}
			got[format] = [3]any{i8, u, num}
		}
		if !reflect.DeepEqual(got[0], got[1]) {
			t.Errorf("%T: got %v in text and %v in binary", way, got[0], got[1])
		}
		conn.Close(context.Background())
		for _, err := range p.failures() {
			t.Error(err)
		}
	}
}

// TestPsqlReadsWhatIsMasked: text format, as people see it.
func TestPsqlReadsWhatIsMasked(t *testing.T) {
	database := database(t, everyType)
	bin, err := bindir()
	if err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, decoders.Want{Columns: []decoders.ColumnName{{Schema: "public", Table: "every", Column: "*"}}}, maskEvery(ways.Digits{Key: testKey}), 0)
	host, port, _ := strings.Cut(p.addr(), ":")
	out, err := exec.Command(filepath.Join(bin, "psql"), "-h", host, "-p", port, "-U", "postgres", "-d", database, "-AtX", "-c", "select i8, num, t, d from every").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cells := strings.Split(strings.TrimSpace(string(out)), "|")
	if len(cells) != 4 || len(cells[0]) != 16 || cells[0] == "4111111111111111" || len(cells[1]) != 9 || !strings.HasPrefix(cells[2], "Ada Lovelace ") || cells[3] != "" {
		t.Errorf("got %q", out)
	}
}

// TestABindThatIsTooLongToBeReadLeavesNullWhereFormatsMatter: texts are alike
// in both formats, numbers are not.
func TestABindThatIsTooLongToBeReadLeavesNullWhereFormatsMatter(t *testing.T) {
	database := database(t, everyType)
	want := decoders.Want{Columns: []decoders.ColumnName{{Schema: "public", Table: "every", Column: "i8"}, {Schema: "public", Table: "every", Column: "t"}}}
	p := startProxy(t, want, maskEvery(ways.Text("42")), 0)
	c := dial(t, p.addr(), database)
	long := strings.Repeat("x", 2<<20)
	for _, format := range []int16{0, 1} {
		for _, parameter := range []string{"short", long} {
			bind := msg('B', "", 0, "", 0, int16(0), int16(1), int32(len(parameter)), parameter, int16(1), format)
			c.send(join(parseMsg("", "select i8, t from every where $1::text <> 'none'"), bind, executeMsg(""), syncMsg()))
			got := values(c.until('Z'))
			want := "NULL|42"
			if parameter == "short" {
				want = []string{"42|42", "\x00\x00\x00\x00\x00\x00\x00\x2a|42"}[format]
			}
			if !slices.Equal(got, []string{want}) {
				t.Errorf("format %d, %d bytes: got %q, want %q", format, len(parameter), got, want)
			}
		}
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}
