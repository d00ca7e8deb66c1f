package agentd_test

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// A talk is a psql that goes on: what it is told, it does, and says so.
type talk struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ended chan error // gets what became of psql
}

// converse starts a captured psql.
func converse(t *testing.T, a *lab.Agentd, server *lab.Server) *talk {
	t.Helper()
	cmd := psql(server)
	cmd.Stdin = nil
	cmd = a.Captured(t, cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &talk{cmd: cmd, in: in, out: bufio.NewReader(r), ended: make(chan error, 1)}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		err := cmd.Wait()
		c.ended <- err
		w.CloseWithError(fmt.Errorf("psql ended: %v", err))
	}()
	t.Cleanup(func() { in.Close(); go io.Copy(io.Discard, r); <-gone })
	return c
}

// say sends a statement and returns what psql prints up to a mark.
func (c *talk) say(t *testing.T, statement string) (said string) {
	t.Helper()
	if _, err := fmt.Fprintf(c.in, "%s\n\\echo --\n", statement); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := c.out.ReadString('\n')
		if line == "--\n" {
			return said
		}
		said += line
		if err != nil {
			return said + err.Error()
		}
	}
}

// says has the server say a word.
func (c *talk) says(t *testing.T, word string) {
	t.Helper()
	if got := c.say(t, "select '"+word+"';"); got != word+"\n" {
		t.Fatalf("asked to say %q: %q", word, got)
	}
}

// ends ends psql as a user would.
func (c *talk) ends(t *testing.T) {
	t.Helper()
	c.in.Close()
	if err := <-c.ended; err != nil {
		t.Errorf("psql ended with %v", err)
	}
}

// kill ends psql as it does not expect. Of a run only agentctl is killed: psql
// itself ends with its input.
func (c *talk) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	c.in.Close()
	<-c.ended
}
