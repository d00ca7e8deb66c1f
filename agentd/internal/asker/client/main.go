// Command client carries out orders from its input, one in a line, and prints
// what comes of each.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"agentd.dev/agentd/internal/asker"
)

func main() {
	log.SetFlags(0)
	out := &printer{to: json.NewEncoder(os.Stdout)}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	conns := map[int]*conn{}
	var working sync.WaitGroup
	for lines.Scan() {
		var o asker.Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			log.Fatal(err)
		}
		c := conns[o.Conn]
		if c == nil || c.closed {
			c = &conn{out: out, n: o.Conn, orders: make(chan asker.Order, 100), opened: make(chan struct{})}
			conns[o.Conn] = c
			working.Go(c.work)
		}
		switch {
		case o.Cancel:
			<-c.opened
			working.Go(func() { // its answer is that of what it cancels
				if err := c.pg.PgConn().CancelRequest(context.Background()); err != nil {
					log.Print(err)
				}
			})
		case o.Close:
			<-c.opened
			c.closed = true
			c.pg.PgConn().Conn().Close()
			close(c.orders)
		default:
			c.orders <- o
		}
	}
	for _, c := range conns {
		if !c.closed {
			close(c.orders)
		}
	}
	working.Wait()
}

// A printer prints answers in whole lines.
type printer struct {
	mu sync.Mutex
	to *json.Encoder
}

func (p *printer) print(a asker.Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.to.Encode(a); err != nil {
		log.Fatal(err)
	}
}

// A conn carries out its orders one after the other.
type conn struct {
	out    *printer
	n      int
	orders chan asker.Order
	opened chan struct{} // closed once there is pg
	pg     *pgx.Conn
	closed bool // main's alone
}

func (c *conn) work() {
	config, err := pgx.ParseConfig("")
	if err != nil {
		log.Fatal(err)
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		c.out.print(asker.Answer{Conn: c.n, Notice: n.Message, Hint: n.Hint})
	}
	if c.pg, err = pgx.ConnectConfig(context.Background(), config); err != nil {
		log.Fatal(err)
	}
	close(c.opened)
	for o := range c.orders {
		a := c.run(o)
		a.Conn, a.SQL = c.n, o.SQL
		c.out.print(a)
	}
	_ = c.pg.Close(context.Background())
}

func (c *conn) run(o asker.Order) (a asker.Answer) {
	mode := pgx.QueryExecModeCacheStatement
	if o.Simple {
		mode = pgx.QueryExecModeSimpleProtocol
	}
	for i, arg := range o.Args {
		if f, ok := arg.(float64); ok { // JSON has no other numbers
			o.Args[i] = int(f)
		}
	}
	rows, err := c.pg.Query(context.Background(), o.SQL, append([]any{mode}, o.Args...)...)
	if err == nil {
		for rows.Next() {
			var row []string
			for _, v := range rows.RawValues() {
				row = append(row, string(v))
			}
			a.Rows = append(a.Rows, row)
		}
		rows.Close()
		a.Tag, err = rows.CommandTag().String(), rows.Err()
	}
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
		a.Code, a.Message, a.Hint = pgErr.Code, pgErr.Message, pgErr.Hint
	case err != nil:
		a.Message = err.Error()
	}
	return a
}
