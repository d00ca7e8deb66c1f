// Command pq holds the conversation with lib/pq. Its argument says how
// arguments go to the server: text or binary.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/lib/pq"

	"agentd.dev/agentd/internal/conversation/script"
)

func main() {
	log.SetFlags(0)
	dsn := ""
	if os.Args[len(os.Args)-1] == "binary" {
		dsn = "binary_parameters=yes"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	db, err := open(dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, statement := range script.Statements() {
		query(ctx, conn, statement)
	}
	withArguments(ctx, conn)
	prepared(ctx, conn)
	copyIn(ctx, conn)
	listen(ctx, conn)
	cancelled(ctx, db, conn)
}

// open returns the database. Its connections print notices and notifications.
func open(dsn string) (*sql.DB, error) {
	base, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	var connector driver.Connector = pq.ConnectorWithNoticeHandler(base, func(notice *pq.Error) {
		fmt.Printf("notice %s\n", describe(notice))
	})
	connector = pq.ConnectorWithNotificationHandler(connector, func(n *pq.Notification) {
		if n != nil {
			fmt.Printf("notification %q %q\n", n.Channel, n.Extra)
		}
	})
	return sql.OpenDB(connector), nil
}

// query runs a statement and prints all results it has.
func query(ctx context.Context, conn *sql.Conn, text string, args ...any) {
	fmt.Printf("\n> %.200q\n", text)
	rows, err := conn.QueryContext(ctx, text, args...)
	if err != nil {
		printError(err)
		return
	}
	printRows(rows)
}

func printRows(rows *sql.Rows) {
	defer rows.Close()
	for {
		columns, err := rows.ColumnTypes()
		printError(err)
		for _, c := range columns {
			length, _ := c.Length()
			fmt.Printf("column %q %s %d\n", c.Name(), c.DatabaseTypeName(), length)
		}
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			printError(rows.Scan(into...))
			for _, v := range values {
				fmt.Printf("%T %q ", v, fmt.Sprint(v))
			}
			fmt.Println()
		}
		if !rows.NextResultSet() {
			break
		}
	}
	printError(rows.Err())
}

func withArguments(ctx context.Context, conn *sql.Conn) {
	when := time.Date(2024, 2, 29, 12, 34, 56, 789000000, time.UTC)
	query(ctx, conn, "select $1::int, $2::text, $3::bool, $4::text", -7, "it's", true, nil)
	query(ctx, conn, "select $1::bytea, $2::timestamptz, $3::float8", []byte{0, 1, 255}, when, 0.1)
	query(ctx, conn, "select $1::int[], $2::text[]", pq.Array([]int{1, 2}), pq.Array([]string{"a", "b c"}))
	query(ctx, conn, "select id, email from people where id = $1", 2)
	query(ctx, conn, "insert into people values ($1, $2, $3, $4)", 1, "Ada", nil, "again")
	query(ctx, conn, "select 10 / $1::int", 0)
	query(ctx, conn, "select length($1::text), $1::text", strings.Repeat("long ", 1<<17))
}

// prepared runs one prepared statement many times, and fails in between.
func prepared(ctx context.Context, conn *sql.Conn) {
	stmt, err := conn.PrepareContext(ctx, "select name, email, 6 / $1::int from people where id = $1")
	if err != nil {
		printError(err)
		return
	}
	defer stmt.Close()
	for _, id := range []int{1, 2, 0, 3, 404} {
		rows, err := stmt.QueryContext(ctx, id)
		if err != nil {
			printError(err)
			continue
		}
		printRows(rows)
	}
}

func copyIn(ctx context.Context, conn *sql.Conn) {
	query(ctx, conn, "create temporary table copied (a int, b text)")
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		printError(err)
		return
	}
	stmt, err := tx.PrepareContext(ctx, "copy copied (a, b) from stdin")
	if err != nil {
		printError(err)
		return
	}
	for i := range 1000 {
		if _, err := stmt.ExecContext(ctx, i, fmt.Sprintf("row\t%d", i)); err != nil {
			printError(err)
		}
	}
	_, err = stmt.ExecContext(ctx)
	printError(err)
	printError(stmt.Close())
	printError(tx.Commit())
	query(ctx, conn, "select count(*), sum(a), min(b), max(b) from copied")
}

// listen hears what this session and a listener's own session are told.
func listen(ctx context.Context, conn *sql.Conn) {
	listener := pq.NewListener("", time.Second, time.Second, nil)
	defer listener.Close()
	printError(listener.Listen("elsewhere"))
	query(ctx, conn, "notify elsewhere, 'from the other session'")
	select {
	case n := <-listener.Notify:
		fmt.Printf("heard %q %q\n", n.Channel, n.Extra)
	case <-ctx.Done():
		fmt.Println("heard nothing")
	}
}

// cancelled runs a statement that is cancelled once it runs: it gives back a
// lock that another session waits for. What lib/pq reports then is the server's
// word or the context's, whichever it sees first, so that only its having
// failed is told.
func cancelled(ctx context.Context, db *sql.DB, conn *sql.Conn) {
	query(ctx, conn, "select pg_advisory_lock(4711)")
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	unlocked := make(chan error)
	go func() {
		_, err := db.ExecContext(ctx, "select pg_advisory_lock(4711)")
		cancel()
		unlocked <- err
	}()
	_, err := conn.ExecContext(running, "select pg_advisory_unlock(4711), pg_sleep(60)")
	fmt.Println("cancelled", err != nil, <-unlocked)
}

func describe(e *pq.Error) string {
	return fmt.Sprintf("%s %s %q detail %q hint %q position %s schema %q table %q column %q constraint %q where %q in %s:%s %s",
		e.Severity, e.Code, e.Message, e.Detail, e.Hint, e.Position, e.Schema, e.Table, e.Column, e.Constraint, e.Where, e.File, e.Line, e.Routine)
}

func printError(err error) {
	var pqErr *pq.Error
	switch {
	case errors.As(err, &pqErr):
		fmt.Println("refused", describe(pqErr))
	case err != nil:
		fmt.Println("error", err)
	}
}
