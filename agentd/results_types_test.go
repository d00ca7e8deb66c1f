package agentd_test

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// A value that a client asks for in binary form is in the record as the server
// itself prints it, whatever it is of the types that agentd knows.
func TestBinaryValuesAreRecordedAsTheServerPrintsThem(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.Setting("log_statement=none"))
	a := lab.StartAgentd(t, lab.Setup{Target: server, Open: true, Config: "record: {results: 256KiB}\n"})
	seed := asked(t, "SEED", uint64(time.Now().UnixNano()))
	r := &valuer{rand.New(rand.NewPCG(seed, 0))}
	session := dialogue.Session{User: server.User, Parameters: map[string]string{"TimeZone": "UTC"}}
	const statements = 400
	for range statements {
		text := "select " + r.value() + ", " + r.value() + ", " + r.array()
		session.Turns = append(session.Turns, frontend('Q', text+"\x00"), slices.Concat(
			frontend('P', "\x00"+text+"\x00\x00\x00"), frontend('B', "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
			frontend('D', "P\x00"), frontend('E', "\x00\x00\x00\x00\x00"), frontend('S', "")))
	}
	heard := hear(t, server, []string{server.Database}, []dialogue.Session{session}, func(cmd *exec.Cmd) *exec.Cmd { return a.Captured(t, cmd) })
	script := transcriptOf(t, a)
	results := map[string][]*recorder.Entry{} // by text
	for _, e := range script.Entries {
		if e.Kind == "request" {
			results[e.Text.Text] = append(results[e.Text.Text], e)
		}
	}
	compared := 0
	for text, pair := range results {
		if len(pair) != 2 || pair[0].Done == nil || pair[0].Done.Code != "" {
			t.Errorf("SEED=%d: %s: got %d requests, the first with %+v, want two that succeed", seed, text, len(pair), pair[0].Done)
			continue
		}
		if got, want := fmt.Sprint(shownRows(pair[1]), pair[1].Rows[0].Raw), fmt.Sprint(shownRows(pair[0]), pair[0].Rows[0].Raw); got != want {
			t.Errorf("SEED=%d: %s:\ngot  %s\nwant %s", seed, text, got, want)
		}
		compared++
	}
	if compared < statements*9/10 {
		t.Errorf("%d statements of %d were compared; the session ended: %s", compared, statements, heard[0].End)
	}
}

// transcriptOf returns the record of the only session there was.
func transcriptOf(t *testing.T, a *lab.Agentd) *recorder.Transcript {
	t.Helper()
	sessions := awaitEnds(t, a, 1)
	if len(sessions) != 1 {
		t.Fatalf("%d sessions are recorded, want one", len(sessions))
	}
	folder, err := recorder.OpenFolder(a.Log)
	if err != nil {
		t.Fatal(err)
	}
	script, err := folder.Session(sessions[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// awaitEnds waits until n sessions are recorded to their end, which is a moment
// after their clients have all they asked for, and returns them.
func awaitEnds(t *testing.T, a *lab.Agentd, n int) []recorder.Summary {
	t.Helper()
	live := func(s recorder.Summary) bool { return s.State == recorder.Live }
	for deadline := time.Now().Add(time.Minute); ; {
		sessions := summariesOf(t, a)
		if len(sessions) >= n && !slices.ContainsFunc(sessions, live) {
			return sessions
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions have to end, and have not: %+v", n, sessions)
		}
	}
}

// summariesOf returns all sessions of the record, by their start.
func summariesOf(t *testing.T, a *lab.Agentd) []recorder.Summary {
	t.Helper()
	folder, err := recorder.OpenFolder(a.Log)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := folder.Sessions(recorder.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return sessions
}

// shownRows are the rows of an entry, each in parentheses.
func shownRows(e *recorder.Entry) string {
	var b strings.Builder
	for _, result := range e.Rows {
		fmt.Fprintf(&b, "%d %v", result.Result, result.Columns)
		for _, row := range result.Rows {
			b.WriteString(" " + shownRow(row))
		}
		b.WriteString(" " + result.Cut + "\n")
	}
	return b.String()
}

// A valuer makes up values of all types, as expressions.
type valuer struct{ *rand.Rand }

// valueTypes are those of which valuers make values.
var valueTypes = []string{
	"bool", "int2", "int4", "int8", "oid", "xid", "float4", "float8", "numeric", "text", "varchar", "bpchar", "name", `"char"`,
	"json", "jsonb", "uuid", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "bytea", "inet", "cidr",
	"macaddr", "macaddr8", "bit(13)", "varbit", "pg_lsn", "xml",
}

func (r *valuer) value() string {
	typ := valueTypes[r.IntN(len(valueTypes))]
	return r.of(typ) + "::" + typ
}

func (r *valuer) array() string {
	typ := valueTypes[r.IntN(len(valueTypes)-1)]
	n, inner := r.IntN(4), 1+r.IntN(3)
	nested := n > 0 && r.IntN(3) == 0
	var all []string
	for range n {
		if !nested {
			all = append(all, r.element(typ))
			continue
		}
		var row []string
		for range inner {
			row = append(row, r.element(typ))
		}
		all = append(all, "array["+strings.Join(row, ",")+"]")
	}
	array := "array[" + strings.Join(all, ",") + "]::" + typ + "[]"
	if n > 0 && !nested && typ == "int4" {
		array = fmt.Sprintf("'[%d:%d]={%s}'::int4[]", -1, n-2, strings.Join(slices.Repeat([]string{"7"}, n), ","))
	}
	return array
}

func (r *valuer) element(typ string) string {
	if r.IntN(5) == 0 {
		return "null"
	}
	return r.of(typ) + "::" + typ
}

func (r *valuer) of(typ string) string {
	switch typ {
	case "bool":
		return r.pick("'t'", "'f'", "null")
	case "int2":
		return fmt.Sprintf("'%d'", int16(r.Uint32()))
	case "int4":
		return fmt.Sprintf("'%d'", int32(r.Uint32())>>r.IntN(32))
	case "int8":
		return fmt.Sprintf("'%d'", int64(r.Uint64())>>r.IntN(64))
	case "oid", "xid":
		return fmt.Sprintf("'%d'", r.Uint32()>>r.IntN(32))
	case "float4":
		if f := math.Float32frombits(r.Uint32()); r.IntN(2) == 0 && f == f && !math.IsInf(float64(f), 0) {
			return fmt.Sprintf("'%g'", f)
		}
		return r.pick("'0'", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "'123456'", "'1234567'", "'1e6'", "'999999'", "'0.0001'", "'0.00001'", "'1e-44'")
	case "float8":
		if f := math.Float64frombits(r.Uint64()); r.IntN(2) == 0 && f == f && !math.IsInf(f, 0) {
			return fmt.Sprintf("'%g'", f)
		}
		return r.pick("'0'", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "'1e14'", "'123456789012345'", "'1e15'", "'1234567890123456'", "'1e16'", "'0.0001'", "'0.00001234'", "'5e-324'",
			fmt.Sprintf("'%v'", r.NormFloat64()*1000))
	case "numeric":
		return r.numeric()
	case "text", "varchar", "bpchar", "name":
		return quoted(r.word())
	case `"char"`:
		return quoted(string(rune('!' + r.IntN(90))))
	case "xml":
		return "'<a>" + strconv.Itoa(r.IntN(99)) + "</a>'"
	case "json", "jsonb":
		return r.pick(`'{"a": [1, 2.50, null], "b":"x\ty"}'`, `'[]'`, `'"ä"'`, `'12'`, `'{"z":1,"a":{"b":[{}]}}'`)
	case "uuid":
		var b [16]byte
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return "'" + hex.EncodeToString(b[:]) + "'"
	case "date":
		return r.pick("'infinity'", "'-infinity'", "'4713-01-01 BC'", "'0044-03-15 BC'", "'0001-01-01'", "'1999-12-31'", "'2000-02-29'", "'12345-06-07'", "'5874897-12-31'",
			fmt.Sprintf("(date '2000-01-01' + %d)", r.IntN(2_000_000)-730_000))
	case "time":
		return r.pick("'00:00'", "'24:00'", "'23:59:59.999999'", fmt.Sprintf("'%02d:%02d:%02d.%d'", r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000000)))
	case "timetz":
		return fmt.Sprintf("'%02d:%02d:%02d.%06d%s'", r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000000), r.pick("+00", "-03:30", "+05:45", "+12:34:56", "-15:59"))
	case "timestamp", "timestamptz":
		return r.pick("'infinity'", "'-infinity'", "'epoch'", "'1999-12-31 23:59:59.999999'", "'0044-03-15 01:02:03.5 BC'", "'4713-01-02 00:00:00 BC'", "'294276-12-31 23:59:59.999999'",
			fmt.Sprintf("(timestamp '2000-01-01' + interval '%d microseconds')", r.Int64N(4e15)-2e15))
	case "interval":
		return r.pick("'0'", "'1 day'", "'-1 day'", "'-1 year 2 mons -3 days 04:05:06.789'", "'1 mon -1 day'", "'-0.5 sec'", "'2562047788:00:54.775807'",
			fmt.Sprintf("'%d months %d days %d microseconds'", r.IntN(60)-30, r.IntN(60)-30, r.Int64N(2e12)-1e12))
	case "bytea":
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return `'\x` + hex.EncodeToString(b) + "'"
	case "inet":
		return r.pick("'10.1.2.3'", "'10.1.2.3/8'", "'::1'", "'::'", "'2001:db8::5/64'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'1:0:0:2::3'", "'fe80::1:0:0:1/128'", "'::1.2.3.4/96'")
	case "cidr":
		return r.pick("'10.0.0.0/8'", "'10.1.2.3/32'", "'2001:db8::/32'", "'::/0'", "'0.0.0.0/0'")
	case "macaddr":
		return "'08:00:2b:01:02:0f'"
	case "macaddr8":
		return "'08:00:2b:01:02:03:0f:ff'"
	case "bit(13)":
		return fmt.Sprintf("B'%013b'", r.IntN(1<<13))
	case "varbit":
		return fmt.Sprintf("B'%b'", r.Uint32()>>r.IntN(32))
	case "pg_lsn":
		return fmt.Sprintf("'%X/%X'", r.Uint32()>>r.IntN(32), r.Uint32()>>r.IntN(32))
	}
	return "null"
}

func (r *valuer) numeric() string {
	if r.IntN(5) == 0 {
		return r.pick("'NaN'", "'Infinity'", "'-Infinity'", "'0'", "'0.0000'", "'1e30'", "'1e-20'", "'10000'", "'0.00010'")
	}
	var b strings.Builder
	if r.IntN(2) == 0 {
		b.WriteByte('-')
	}
	for range 1 + r.IntN(20) {
		b.WriteByte(byte('0' + r.IntN(10)))
	}
	if r.IntN(2) == 0 {
		b.WriteByte('.')
		for range 1 + r.IntN(20) {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
	}
	return "'" + b.String() + "'"
}

func (r *valuer) word() string {
	return r.pick("", "null", "NULL", "nUlL", "a b", `say "x"`, `back\slash`, "{}", "a,b", "tab\there", "ä ö 世界", "it's", strings.Repeat("z", r.IntN(60)), " lead", "x;y", "\v", "\u00a0")
}

func (r *valuer) pick(of ...string) string { return of[r.IntN(len(of))] }

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
