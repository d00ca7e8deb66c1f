package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// DefaultTimeout is how long a helper may take, DefaultEvery how long what
	// it said holds, where nothing else is said.
	DefaultTimeout = 5 * time.Second
	DefaultEvery   = 5 * time.Minute

	maxOutput  = 64 << 10    // of a helper
	lastMoment = time.Minute // before its end a password is not used any more, if it is a long one
)

// A Helper is a program that says a password. It prints the password alone, or
// JSON: {"password": "...", "user": "...", "expires": RFC 3339, "ttl": seconds},
// of which all but the first may be left out.
type Helper struct {
	Command []string
	Timeout time.Duration
	Every   time.Duration // how long what it says holds, if that does not say
	// Environment are the variables of agentd's own that it gets, besides PATH.
	Environment []string
}

// run runs the helper, now: with an environment of its own, without input, in a
// process group that is killed when its time is over. What it prints on its
// standard error is thrown away: nobody knows whether a secret is in it.
func (h *Helper) run(ctx context.Context, now time.Time) (Login, error) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range h.Environment {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	var out output
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	defer clear(out.text)
	name := filepath.Base(h.Command[0])
	var ended *exec.ExitError
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return Login{}, fmt.Errorf("helper %s took longer than %v", name, h.Timeout)
	case ctx.Err() != nil:
		return Login{}, context.Cause(ctx)
	case out.over:
		return Login{}, fmt.Errorf("helper %s printed more than %d bytes", name, maxOutput)
	case errors.As(err, &ended):
		return Login{}, fmt.Errorf("helper %s ended with %s", name, ended.ProcessState)
	case err != nil:
		return Login{}, fmt.Errorf("helper %s: %w", name, err)
	}
	l, err := said(out.text, now)
	if err != nil {
		return Login{}, fmt.Errorf("helper %s: %w", name, err)
	}
	return l, nil
}

// said reads what a helper has printed. Errors say nothing of it.
func said(text []byte, now time.Time) (l Login, err error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '{' {
		l.Password = Secret{string(text)}
		return l, check("password that it printed", l.Password.text)
	}
	var answer struct {
		User     string    `json:"user"`
		Password string    `json:"password"`
		Expires  time.Time `json:"expires"`
		TTL      float64   `json:"ttl"` // seconds
	}
	if json.Unmarshal(text, &answer) != nil {
		return l, errors.New(`what it printed begins as JSON and is not {"password": "...", "user": "...", "expires": "2026-01-02T15:04:05Z"} or "ttl" in seconds`)
	}
	l = Login{User: answer.User, Password: Secret{answer.Password}, Expires: answer.Expires}
	if answer.TTL > 0 && answer.TTL < float64(1<<31) && l.Expires.IsZero() {
		l.Expires = now.Add(time.Duration(answer.TTL * float64(time.Second)))
	}
	if !l.Expires.IsZero() && !l.Expires.After(now) {
		return Login{}, errors.New("what it printed has expired")
	}
	return l, check("password that it printed", l.Password.text)
}

// holds is how long an answer is used that expires then: not to the last
// moment.
func (h *Helper) holds(now, expires time.Time) time.Time {
	if expires.IsZero() {
		return now.Add(h.Every)
	}
	left := expires.Sub(now)
	return expires.Add(-min(left/5, lastMoment))
}

// An output keeps what a helper prints, up to a limit.
type output struct {
	text []byte
	over bool
}

// Write implements io.Writer. Its error makes the helper's next write fail.
func (o *output) Write(b []byte) (int, error) {
	if len(o.text)+len(b) > maxOutput {
		o.over = true
		return 0, errors.New("too much")
	}
	o.text = append(o.text, b...)
	return len(b), nil
}
