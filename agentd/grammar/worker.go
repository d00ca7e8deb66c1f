package grammar

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentd.dev/decoders/sql"
)

var (
	errBusy = errors.New("no worker in time")
	errSlow = errors.New("no answer in time")
)

// A killedError is that of a worker which somebody else ended.
type killedError struct{ error }

const (
	maxRSS     = 192 << 20 // bytes of memory with which a worker is replaced
	lookEvery  = 64        // studies after which its memory is looked at; after a large text at once
	startTime  = 30 * time.Second
	keepBuffer = 64 << 10
)

// A worker is one child. One goroutine at a time uses it.
type worker struct {
	cmd     *exec.Cmd
	conn    *os.File // our end of the socket
	missing []string // what does not confine it, and why
	studies int
	buf     []byte

	ended chan struct{} // closed when it has ended, and cmd.ProcessState is set
}

// lives says whether the worker has not ended yet.
func (w *worker) lives() bool {
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

// kill ends the worker and waits for that.
func (w *worker) kill() {
	w.cmd.Process.Kill()
	w.conn.Close()
	<-w.ended
}

// await waits until the worker has confined itself.
func (w *worker) await() error {
	w.conn.SetDeadline(time.Now().Add(startTime))
	kind, body, err := readFrame(w.conn, &w.buf)
	switch {
	case err != nil:
		return w.why(err)
	case kind == sorry:
		return errors.New(string(body))
	case kind != ready:
		return fmt.Errorf("it begins with %q", kind)
	}
	if len(body) > 0 {
		w.missing = strings.Split(string(body), "\n")
	}
	return nil
}

// study has the worker read a text, and returns what it says and how many bytes
// that took. After an error the worker is of no more use.
func (w *worker) study(text string) (*sql.Meaning, int, error) {
	w.studies++
	patience := answerTime
	if len(text) > largeText {
		patience = largeTime
	}
	w.conn.SetDeadline(time.Now().Add(patience))
	w.buf = appendFrame(w.buf[:0], request, text)
	if _, err := w.conn.Write(w.buf); err != nil {
		return nil, 0, w.why(err)
	}
	kind, body, err := readFrame(w.conn, &w.buf)
	if err != nil {
		return nil, 0, w.why(err)
	}
	if kind != reply {
		return nil, 0, fmt.Errorf("it answers with %q", kind)
	}
	m, err := readMeaning(body)
	if err != nil {
		return nil, 0, err
	}
	n := len(body)
	if cap(w.buf) > keepBuffer {
		w.buf = nil
	}
	return m, n, nil
}

// why makes sense of an error on the socket.
func (w *worker) why(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlow
	}
	w.cmd.Process.Kill() // most likely it has ended; if not, it has lost its place
	<-w.ended
	state := w.cmd.ProcessState
	status, _ := state.Sys().(syscall.WaitStatus)
	err = fmt.Errorf("it ended: %s", state)
	if status.Signaled() && status.Signal() == syscall.SIGKILL {
		return &killedError{err}
	}
	return err
}

// grown says whether the worker holds too much memory after a text of n bytes.
func (w *worker) grown(n int) bool {
	if n < largeText && w.studies%lookEvery != 0 {
		return false
	}
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(w.cmd.Process.Pid) + "/statm")
	if err != nil {
		return true // it is about to end
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return true
	}
	pages, err := strconv.Atoi(string(fields[1]))
	return err != nil || pages*os.Getpagesize() > maxRSS
}
