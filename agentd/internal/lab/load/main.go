// Command load makes many short connections to the PostgreSQL server that its
// environment names, several at a time, and runs statements that can be told
// apart on each: select 'TAG-connection-statement'. It prints a line "ready"
// when the first statement is answered, and in the end how many connections
// and statements succeeded.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

func main() {
	conns := flag.Int("conns", 100, "connections in all")
	atOnce := flag.Int("at-once", 8, "connections at a time")
	statements := flag.Int("statements", 1, "statements on each connection")
	tag := flag.String("tag", "load", "what statements begin with")
	flag.Parse()

	var (
		next               atomic.Int64
		connected, counted atomic.Int64
		first              sync.Once
		failed             atomic.Pointer[error]
		wg                 sync.WaitGroup
	)
	for range *atOnce {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(*conns) || failed.Load() != nil {
					return
				}
				err := talk(func(j int) (string, bool) {
					if j == 1 {
						connected.Add(1)
						first.Do(func() { fmt.Println("ready") })
					}
					counted.Add(int64(min(j, 1)))
					return fmt.Sprintf("select '%s-%d-%d'", *tag, i, j), j < *statements
				})
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	fmt.Println(connected.Load(), counted.Load())
	if err := failed.Load(); err != nil {
		fmt.Fprintln(os.Stderr, *err)
		os.Exit(1)
	}
}

// talk opens a connection and runs statement(0), statement(1) ... while there
// are more. statement(j) is called once j of them have been answered.
func talk(statement func(answered int) (sql string, more bool)) error {
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for j := 0; ; j++ {
		sql, more := statement(j)
		if !more {
			return nil
		}
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
	}
}
