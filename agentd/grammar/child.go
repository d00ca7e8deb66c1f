package grammar

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"agentd.dev/decoders/sql"
)

// Main makes this process a worker that reads texts with read, if that is what
// it was started for, and returns true when it is over. Programs that open a
// Pool call it before anything else; tests do so in TestMain.
func Main(read func(text string) sql.Meaning) bool {
	if len(os.Args) < 2 || os.Args[1] != Command {
		return false
	}
	if _, err := unix.GetsockoptInt(0, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		fmt.Fprintln(os.Stderr, "agentd: "+Command+" is what agentd starts for itself")
		os.Exit(2)
	}
	runtime.LockOSThread()
	if len(os.Args) == 2 {
		confine() // and begin anew, with os.Args[2]
	}
	work(read, os.Args[2])
	return true
}

// work answers until agentd has closed its end. Missing is what does not
// confine this process, a line each.
func work(read func(string) sql.Meaning, missing string) {
	debug.SetMemoryLimit(maxRSS / 2)
	answer("select 1", read) // what is made ready at the first use needs calls that are forbidden later
	if err := lock(); err != nil {
		missing = strings.TrimPrefix(missing+"\n"+err.Error(), "\n")
	}
	out := appendFrame(nil, ready, missing)
	var in []byte
	for {
		if _, err := conn.Write(out); err != nil {
			return
		}
		kind, text, err := readFrame(conn, &in)
		if err != nil || kind != request {
			return
		}
		out = appendFrame(out[:0], reply, answer(string(text), read))
		if cap(in)+cap(out) > keepBuffer {
			in, out = nil, bytes.Clone(out)
		}
	}
}

// answer returns what is known of a text. Whatever goes wrong becomes a meaning
// that says so.
func answer(text string, read func(string) sql.Meaning) string {
	m := guarded(text, read)
	body := appendMeaning(nil, &m)
	if len(body) > maxReply {
		body = appendMeaning(nil, &sql.Meaning{Unclear: "there is too much to be said of it"})
	}
	return string(body)
}

func guarded(text string, read func(string) sql.Meaning) (m sql.Meaning) {
	defer func() {
		if recover() != nil {
			m = sql.Meaning{Unclear: "its tree could not be walked"}
		}
	}()
	return read(text)
}

// conn is the socket: a worker has no poller, and blocks.
var conn io.ReadWriter = socket(0)

type socket int

func (fd socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (fd socket) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := unix.Write(int(fd), p[written:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}
