// Command pgx holds the conversation with pgx v5. Its argument says how
// statements go to the server: simple, extended, prepared or pipeline.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"agentd.dev/agentd/internal/conversation/script"
)

// modes are the ways to send the script's statements, with pgx's own name for
// how it then sends queries that have arguments.
var modes = map[string]struct {
	send func(context.Context, *pgconn.PgConn, []string)
	exec pgx.QueryExecMode
}{
	"simple":   {sendSimple, pgx.QueryExecModeSimpleProtocol},
	"extended": {sendExtended, pgx.QueryExecModeExec},
	"prepared": {sendPrepared, pgx.QueryExecModeCacheStatement},
	"pipeline": {sendPipelined, pgx.QueryExecModeCacheDescribe},
}

func main() {
	log.SetFlags(0)
	mode, ok := modes[os.Args[len(os.Args)-1]]
	if !ok {
		log.Fatal("usage: pgx simple|extended|prepared|pipeline")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	config, err := pgx.ParseConfig("")
	if err != nil {
		log.Fatal(err)
	}
	config.DefaultQueryExecMode = mode.exec
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { fmt.Printf("notice %q\n", *n) }
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		fmt.Printf("notification %q %q\n", n.Channel, n.Payload)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"server_version", "client_encoding", "TimeZone", "is_superuser"} {
		fmt.Println(name, conn.PgConn().ParameterStatus(name))
	}
	mode.send(ctx, conn.PgConn(), script.Statements())
	withArguments(ctx, conn)
	batch(ctx, conn)
	copyBoth(ctx, conn)
	listen(ctx, conn)
	cancelled(ctx, conn.PgConn())
	fmt.Println("close", conn.Close(ctx))
}

func sendSimple(ctx context.Context, c *pgconn.PgConn, statements []string) {
	for _, sql := range statements {
		heading(sql)
		results := c.Exec(ctx, sql)
		for results.NextResult() {
			printResult(results.ResultReader())
		}
		printError(results.Close())
		status(c)
	}
}

func sendExtended(ctx context.Context, c *pgconn.PgConn, statements []string) {
	for i, sql := range statements {
		heading(sql)
		format := []int16{int16(i % 2)}
		printResult(c.ExecParams(ctx, sql, nil, nil, nil, format))
		status(c)
	}
}

// sendPrepared runs each statement that has rows twice, the second time in
// binary, without describing it anew.
func sendPrepared(ctx context.Context, c *pgconn.PgConn, statements []string) {
	for i, sql := range statements {
		heading(sql)
		name := "s" + strconv.Itoa(i)
		description, err := c.Prepare(ctx, name, sql, nil)
		if err != nil {
			printError(err)
			status(c)
			continue
		}
		fmt.Println("parameters", description.ParamOIDs)
		printFields(description.Fields)
		printResult(c.ExecPrepared(ctx, name, nil, nil, nil))
		if len(description.Fields) > 0 {
			printResult(c.ExecPrepared(ctx, name, nil, nil, []int16{pgx.BinaryFormatCode}))
		}
		if i%2 == 0 {
			printError(c.Deallocate(ctx, name))
		}
		status(c)
	}
}

// sendPipelined sends statements in groups of five, each up to one Sync, and
// reads the answers after all of them went out.
func sendPipelined(ctx context.Context, c *pgconn.PgConn, statements []string) {
	for i := 0; i < len(statements); i += 5 {
		pipeline := c.StartPipeline(ctx)
		for _, sql := range statements[i:min(i+5, len(statements))] {
			heading(sql)
			pipeline.SendPrepare("", sql, nil)
			pipeline.SendQueryPrepared("", nil, nil, nil)
			pipeline.SendQueryParams(sql, nil, nil, nil, []int16{pgx.BinaryFormatCode})
			pipeline.SendFlushRequest()
		}
		printError(pipeline.Sync())
		readPipeline(pipeline)
		printError(pipeline.Close())
		status(c)
	}
}

func readPipeline(pipeline *pgconn.Pipeline) {
	for {
		results, err := pipeline.GetResults()
		switch r := results.(type) {
		case nil:
			printError(err)
			if err == nil {
				return // everything was read
			}
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) {
				return
			}
		case *pgconn.ResultReader:
			printResult(r)
		case *pgconn.StatementDescription:
			printFields(r.Fields)
		case *pgconn.PipelineSync:
			fmt.Println("sync")
			return
		}
	}
}

// withArguments runs statements with arguments of many types, each twice.
func withArguments(ctx context.Context, conn *pgx.Conn) {
	when := time.Date(2024, 2, 29, 12, 34, 56, 789000000, time.UTC)
	queries := []struct {
		sql  string
		args []any
	}{
		{"select $1::int, $2::text, $3::bool", []any{-7, "it's", true}},
		{"select $1::bytea, $2::timestamptz, $3::float8", []any{[]byte{0, 1, 255}, when, 0.1}},
		{"select $1::int[], $2::jsonb, $3::uuid", []any{[]int32{1, 2}, map[string]any{"k": "v"}, [16]byte{1, 2, 3}}},
		{"select $1::text is null, $1::text", []any{nil}},
		{"select id, email from people where id = $1", []any{2}},
		{"insert into people values ($1, $2, $3, $4)", []any{1, "Ada", nil, "again"}},
		{"select length($1::text), $1::text", []any{string(bytes.Repeat([]byte("long "), 1<<17))}},
		{"select 10 / $1::int", []any{0}},
	}
	for _, q := range queries {
		for range 2 {
			heading(q.sql)
			rows, err := conn.Query(ctx, q.sql, q.args...)
			if err != nil {
				printError(err)
				continue
			}
			for rows.Next() {
				values, err := rows.Values()
				fmt.Printf("values %q %v\n", values, err)
			}
			printError(rows.Err())
			status(conn.PgConn())
		}
	}
}

func batch(ctx context.Context, conn *pgx.Conn) {
	b := &pgx.Batch{}
	b.Queue("create temporary table batched (a int primary key, b text)")
	printError(conn.SendBatch(ctx, b).Close())
	b = &pgx.Batch{}
	for i := range 20 {
		b.Queue("insert into batched values ($1, $2)", i, strconv.Itoa(i))
	}
	b.Queue("select sum(a), string_agg(b, ',' order by a) from batched")
	b.Queue("insert into batched values (1, 'again')")
	b.Queue("select 'never'")
	results := conn.SendBatch(ctx, b)
	for range b.Len() {
		rows, err := results.Query()
		if err != nil {
			printError(err)
			continue
		}
		for rows.Next() {
			values, err := rows.Values()
			fmt.Printf("values %q %v\n", values, err)
		}
		rows.Close()
		fmt.Println("done", rows.CommandTag())
		printError(rows.Err())
	}
	printError(results.Close())
	status(conn.PgConn())
}

func copyBoth(ctx context.Context, conn *pgx.Conn) {
	_, err := conn.Exec(ctx, "create temporary table copied (a int, b text)")
	printError(err)
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"a", "b"},
		pgx.CopyFromSlice(1000, func(i int) ([]any, error) { return []any{i, "row " + strconv.Itoa(i)}, nil }))
	fmt.Println("copied", n, err)
	n, err = conn.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"a", "b"},
		pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("the client gives up") }))
	fmt.Println("copied", n)
	printError(err)
	status(conn.PgConn())
	for _, in := range []struct{ sql, data string }{
		{"copy copied from stdin", "-1\tone\n-2\t\\N\n"},
		{"copy copied from stdin (format csv, header)", "a,b\n-3,\"quoted, yes\"\n"},
		{"copy copied from stdin", "no number\tx\n"},
		{"copy nowhere from stdin", "1\n"},
	} {
		heading(in.sql)
		tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader([]byte(in.data)), in.sql)
		fmt.Println("done", tag)
		printError(err)
		status(conn.PgConn())
	}
	for _, sql := range []string{
		"copy (select * from copied order by a) to stdout",
		"copy people to stdout (format csv, header)",
		"copy every_type (id, b, t, by, ia) to stdout (format binary)",
		"copy (select 1 / (3 - g) from generate_series(1, 5) g) to stdout",
	} {
		heading(sql)
		var out bytes.Buffer
		tag, err := conn.PgConn().CopyTo(ctx, &out, sql)
		fmt.Printf("data %q\ndone %s\n", out.String(), tag)
		printError(err)
		status(conn.PgConn())
	}
}

// listen hears what another session notifies.
func listen(ctx context.Context, conn *pgx.Conn) {
	_, err := conn.Exec(ctx, "listen elsewhere")
	printError(err)
	other, err := pgx.Connect(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	_, err = other.Exec(ctx, "notify elsewhere, 'from the other session'")
	printError(err)
	printError(other.Close(ctx))
	printError(conn.PgConn().WaitForNotification(ctx)) // onNotification prints it
}

// cancelled runs a statement that is cancelled, and another after it. The
// statement gives back a lock that the one who cancels waits for, so that it
// runs by then.
func cancelled(ctx context.Context, c *pgconn.PgConn) {
	sendSimple(ctx, c, []string{"select pg_advisory_lock(4711)"})
	done := make(chan error)
	go func() { done <- cancelWhenUnlocked(ctx, c) }()
	sendExtended(ctx, c, []string{"select pg_advisory_unlock(4711), pg_sleep(60)"})
	fmt.Println("cancel", <-done)
	sendSimple(ctx, c, []string{"select 'still here'"})
}

func cancelWhenUnlocked(ctx context.Context, c *pgconn.PgConn) error {
	other, err := pgconn.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer other.Close(ctx)
	if _, err := other.Exec(ctx, "select pg_advisory_lock(4711)").ReadAll(); err != nil {
		return err
	}
	return c.CancelRequest(ctx)
}

func heading(sql string) { fmt.Printf("\n> %.200q\n", sql) }

func status(c *pgconn.PgConn) { fmt.Printf("status %c\n", c.TxStatus()) }

func printFields(fields []pgconn.FieldDescription) {
	for _, f := range fields {
		// A temporary table's OID is another one in every session.
		fmt.Printf("field %q table %v attribute %d type %d size %d modifier %d format %d\n",
			f.Name, f.TableOID != 0, f.TableAttributeNumber, f.DataTypeOID, f.DataTypeSize, f.TypeModifier, f.Format)
	}
}

func printResult(r *pgconn.ResultReader) {
	printFields(r.FieldDescriptions())
	for r.NextRow() {
		for i, value := range r.Values() {
			if value == nil {
				fmt.Printf("%d null ", i)
			} else {
				fmt.Printf("%d %q ", i, value)
			}
		}
		fmt.Println()
	}
	tag, err := r.Close()
	fmt.Println("done", tag)
	printError(err)
}

func printError(err error) {
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
		fmt.Printf("refused %q\n", *pgErr)
	case err != nil:
		fmt.Printf("error %v\n", err)
	}
}
