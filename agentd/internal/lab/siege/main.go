// Command siege is a workload that is there while something happens to agentd.
//
// With -sessions it opens so many sessions at the PostgreSQL server that its
// environment names: some ask without end, the others are idle until a line
// comes on its input. Then each asks once more. It prints "ready" when all are
// open, and in the end how many have had an answer to everything they asked.
//
// With -knock it connects to an address again and again until its input ends,
// and then prints what came of each attempt, as JSON, one a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

func main() {
	sessions := flag.Int("sessions", 0, "sessions in all")
	streaming := flag.Int("streaming", 0, "how many of them ask without end")
	knock := flag.String("knock", "", "address to connect to")
	flag.Parse()
	if *knock != "" {
		knocks(*knock)
		return
	}
	besiege(*sessions, *streaming)
}

func besiege(sessions, streaming int) {
	var (
		open, done sync.WaitGroup
		well       atomic.Int64
		awake      = make(chan struct{})
	)
	for i := range sessions {
		open.Add(1)
		done.Go(func() {
			err := session(i < streaming, &open, awake)
			if err != nil {
				fmt.Fprintf(os.Stderr, "session %d: %v\n", i, err)
				return
			}
			well.Add(1)
		})
	}
	open.Wait()
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	close(awake)
	done.Wait()
	fmt.Println(well.Load())
}

// session has one connection and asks until it is awake, or waits for that;
// then it asks once more.
func session(streaming bool, open *sync.WaitGroup, awake <-chan struct{}) error {
	var once sync.Once
	opened := func() { once.Do(open.Done) }
	defer opened()
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for {
		if _, err := conn.Exec(ctx, "select 'siege'").ReadAll(); err != nil {
			return err
		}
		opened()
		pause := time.Hour
		if streaming {
			pause = 50 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-awake:
			_, err := conn.Exec(ctx, "select 'awake'").ReadAll()
			return err
		}
	}
}

// A Knock is one attempt to connect, to say which port it is from, and to be
// answered.
type Knock struct {
	Start, End time.Time
	Err        string // "" if it was answered
}

func knocks(addr string) {
	const every = 25 * time.Millisecond
	var (
		all  []Knock
		mu   sync.Mutex // guards all
		each sync.WaitGroup
		end  = make(chan struct{})
	)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	fmt.Println("ready")
	for going := true; going; {
		each.Go(func() {
			k := Knock{Start: time.Now()}
			if err := knock(addr); err != nil {
				k.Err = err.Error()
			}
			k.End = time.Now()
			mu.Lock()
			defer mu.Unlock()
			all = append(all, k)
		})
		select {
		case <-time.After(every):
		case <-end:
			going = false
		}
	}
	each.Wait()
	out := json.NewEncoder(os.Stdout)
	for _, k := range all {
		if err := out.Encode(k); err != nil {
			os.Exit(1)
		}
	}
}

// knock says which port it connects from: whom it reaches can then tell whether
// somebody is in between. The port is asked for before connecting, since
// afterwards agentd shows its own.
func knock(addr string) error {
	dest, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "knock")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: dest.Addr().As4()}); err != nil {
		return err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: dest.Addr().As4(), Port: int(dest.Port())}); err != nil {
		return err
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, name.(*unix.SockaddrInet4).Port); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}
