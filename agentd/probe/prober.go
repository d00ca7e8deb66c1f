package probe

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Prober tries vectors in one place.
type Prober struct {
	Stage *Stage
	// Inside is the directory of a captured cgroup, Outside that of one that
	// is not. Both must allow processes.
	Inside, Outside string
	Apart           bool // Outside is not below the cgroup that agentd is attached to
	Strict          bool // the workload is in strict mode
	// Fresh makes another place for one attempt that changes it, and returns
	// what to call afterwards.
	Fresh func(context.Context) (*Prober, func() error, error)
	// Captured says how many connections to a port of the target agentd has
	// been given so far.
	Captured func(ctx context.Context, port uint16) (int, error)
	// Command starts this program so that it calls Main.
	Command  func() *exec.Cmd
	Patience time.Duration // how long an attempt may take; 15 seconds if not set
}

// A Row says what came of a vector.
type Row struct {
	Vector string `json:"vector"`
	Over   Family `json:"over,omitempty"`
	Want   Result `json:"want"`
	Got    Result `json:"got"`
	OK     bool   `json:"ok"`     // Got is Want
	Served bool   `json:"served"` // the attempt was answered
	// Detail is what the call said or the target heard.
	Detail string `json:"detail,omitempty"`
	Why    string `json:"why,omitempty"`
}

// Safe reports whether nothing came past agentd that Want does not know of:
// less may get through on this node than could.
func (r *Row) Safe() bool {
	switch r.Got {
	case Captured, Refused, Dropped, Lacking:
		return true
	}
	return r.OK
}

// Try tries v outside of the workload, where it must get through, and then
// inside. An error means that nothing can be said.
func (p *Prober) Try(ctx context.Context, v *Vector, f Family) (Row, error) {
	row := p.row(v, f)
	free, err := p.attempt(ctx, v, f, true)
	if err != nil {
		return row, err
	}
	if row.Got = free.result(v); row.Got != Open {
		row.Detail = free.detail()
		row.OK = row.Got == Lacking
		return row, nil
	}
	return p.TryInside(ctx, v, f)
}

func (p *Prober) row(v *Vector, f Family) Row {
	row := Row{Vector: v.Name, Over: f, Want: v.Want, Why: v.Why}
	if p.Apart && v.Apart != Unset {
		row.Want = v.Apart
	}
	if p.Strict && v.Strict != Unset {
		row.Want = v.Strict
	}
	if v.tooOld() {
		row.Want = Open
	}
	return row
}

// TryInside is the second half of Try: for who has seen v get through outside
// of the workload elsewhere, since strict mode stops it for everybody in the
// workload's network namespace.
func (p *Prober) TryInside(ctx context.Context, v *Vector, f Family) (Row, error) {
	row := p.row(v, f)
	got, err := p.attempt(ctx, v, f, false)
	if err != nil {
		return row, err
	}
	row.Got, row.Detail = got.result(v), got.detail()
	row.Served = got.Err == ""
	row.OK = row.Want.meets(row.Got)
	return row, nil
}

// An outcome is what an attempt says, and what others say of it.
type outcome struct {
	Err   string
	Errno unix.Errno

	flows    []flow
	captured int
	free     bool // it was not captured
}

// result judges an outcome.
func (o *outcome) result(v *Vector) Result {
	direct := 0
	for _, f := range o.flows {
		if f.protocol != "TCP" {
			direct++
		}
	}
	direct += max(0, len(o.flows)-direct-o.captured)
	switch {
	case o.free && v.lacks(o.Errno) && direct == 0:
		return Lacking
	case direct > 0:
		return Open
	case o.captured > 0:
		return Captured
	case o.Err != "" && o.Err != errSilent.Error():
		if o.free {
			return Broken
		}
		return Refused
	case v.Local && o.Err == "":
		return Open
	case o.free:
		return Broken
	}
	return Dropped
}

func (v *Vector) lacks(errno unix.Errno) bool {
	for _, e := range v.Lacks {
		if errno == e {
			return true
		}
	}
	return false
}

func (o *outcome) detail() string {
	var words []string
	if o.Err != "" {
		words = append(words, o.Err)
	}
	if o.captured > 0 {
		words = append(words, fmt.Sprintf("agentd took %d", o.captured))
	}
	if len(o.flows) > 0 {
		words = append(words, "the target heard "+describe(o.flows))
	}
	return strings.Join(words, "; ")
}

// attempt tries v once, in a process of its own. If it is to be free, the
// cgroup outside stands for the workload's.
func (p *Prober) attempt(ctx context.Context, v *Vector, f Family, free bool) (outcome, error) {
	if !v.Alone {
		return p.here(ctx, v, f, free)
	}
	other, end, err := p.Fresh(ctx)
	if err != nil {
		return outcome{}, err
	}
	o, err := other.here(ctx, v, f, free)
	return o, errors.Join(err, end())
}

// here is attempt in this very place.
func (p *Prober) here(ctx context.Context, v *Vector, f Family, free bool) (outcome, error) {
	stage, cgroup := p.Stage, p.Inside
	if free {
		cgroup = p.Outside
	}
	t, err := stage.open(v.Port)
	if err != nil {
		return outcome{}, fmt.Errorf("listen: %w", err)
	}
	defer t.close()
	s := scene{
		Vector: v.Name, Family: f, Dest: t.dest(f), Nonce: newNonce(), MAC: stage.mac, Beyond: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), stage.outside.Fd()),
		Inside: cgroup, Outside: p.Outside, Free: free, Command: p.Command().Args,
	}
	before, err := p.Captured(ctx, t.port)
	if err != nil {
		return outcome{}, err
	}
	port := t.port
	if v.Port != 0 || v.Told {
		port = 0
	}
	if v.Called {
		t.call(stage)
		port = 0
	}
	stage.sniffer.expect(s.Nonce, port)
	o, err := p.run(ctx, stage, v, &s)
	if err != nil {
		return outcome{}, err
	}
	if err := stage.pass(ctx); err != nil {
		return outcome{}, err
	}
	after, err := p.Captured(ctx, t.port)
	o.flows, o.captured, o.free = stage.sniffer.heardFlows(), after-before, s.Free
	return o, err
}

// run has a child play a scene and returns what it says.
func (p *Prober) run(ctx context.Context, stage *Stage, v *Vector, s *scene) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.Patience, 15*time.Second))
	defer cancel()
	dir := s.Inside
	if v.Outside {
		dir = s.Outside
	}
	made := p.Command()
	cmd := exec.CommandContext(ctx, made.Path, made.Args[1:]...)
	cmd.Args[0], cmd.Env = made.Args[0], made.Env
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	err = within(stage.Inside, func() error { return s.start(cmd, dir) })
	if err != nil {
		return o, fmt.Errorf("start an attempt: %w", err)
	}
	waited := cmd.Wait()
	if err := ascend(s.Inside); err != nil {
		return o, fmt.Errorf("tidy up: %w", err)
	}
	if ctx.Err() != nil {
		o.Err = "the attempt did not end"
		return o, nil
	}
	if err := json.Unmarshal([]byte(out.String()), &o); err != nil {
		return o, fmt.Errorf("attempt %q (%s): %w: %s", s.Vector, s.Family, errors.Join(waited, err), said.String())
	}
	return o, nil
}

// start starts cmd in a cgroup, with the scene in its environment.
func (s *scene) start(cmd *exec.Cmd, cgroup string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	dir, err := os.Open(cgroup)
	if err != nil {
		return err
	}
	defer dir.Close()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	// The runtime's own signals would interrupt a connect that takes a while.
	cmd.Env = append(cmd.Env, sceneEnv+"="+string(text), "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return cmd.Start()
}

func newNonce() string { return "agentd-probe-" + rand.Text()[:16] }
