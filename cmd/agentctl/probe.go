package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/probe"
)

// Hidden commands that the doctor starts itself with.
const (
	attemptCommand = "attempt"
	placeCommand   = "place"
)

// newAttempt is a process that tries one way around.
func newAttempt() *cobra.Command {
	return &cobra.Command{
		Use:    attemptCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		Run:    func(*cobra.Command, []string) { probe.Main() },
	}
}

// newPlace is a process that keeps a run alive until its input ends, and says
// which cgroup that is.
func newPlace() *cobra.Command {
	return &cobra.Command{
		Use:    placeCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := ownCgroup()
			if err != nil {
				return err
			}
			fmt.Println(dir)
			_, err = io.Copy(io.Discard, os.Stdin)
			return err
		},
	}
}

func ownCgroup() (string, error) {
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		return "", err
	}
	return cgroup.Own(hierarchy)
}

// probe tries every vector, printing each as it is known.
func (a *app) probe(ctx context.Context, client *control.Client, root string) (rows []probe.Row, err error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	outside, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	p, end, err := a.place(ctx, client, outside)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	below, err := filepath.Rel(root, outside)
	p.Apart = err != nil || below == ".." || strings.HasPrefix(below, "../")
	if a.format == "table" {
		fmt.Fprintln(a.out)
		a.writeRow(a.out, cells("GOT", "WANT", "OVER", "WAY"), probeWidths)
	}
	for i := range probe.Vectors {
		v := &probe.Vectors[i]
		for _, family := range v.Families() {
			row, err := p.Try(ctx, v, family)
			if ctx.Err() != nil {
				return rows, errors.New("interrupted: nothing is left behind")
			}
			if err != nil {
				return rows, fmt.Errorf("%s: %w", v.Name, err)
			}
			rows = append(rows, row)
			if a.format == "table" {
				a.writeProbe(&row)
			}
		}
	}
	return rows, nil
}

// place makes a stage and a run of the daemon's in it. end ends both.
func (a *app) place(ctx context.Context, client *control.Client, outside string) (p *probe.Prober, end func() error, err error) {
	stage, err := probe.NewStage()
	if err != nil {
		return nil, nil, err
	}
	// A run is in the network namespace of who asks for it.
	cmd := exec.Command("/proc/self/exe", "--socket", a.socket, "run", "--name", "agentctl-doctor", "--", "/proc/self/exe", "doctor", placeCommand)
	cmd.Stderr = a.errs
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, errors.Join(err, stage.Close())
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, errors.Join(err, stage.Close())
	}
	if err := stage.Start(cmd); err != nil {
		return nil, nil, errors.Join(err, stage.Close())
	}
	end = func() error { return errors.Join(in.Close(), cmd.Wait(), stage.Close()) }
	inside, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start a run to try from: %w", err), end())
	}
	inside = strings.TrimSuffix(inside, "\n")
	p = &probe.Prober{
		Stage: stage, Inside: inside, Outside: outside,
		Captured: func(ctx context.Context, port uint16) (n int, err error) {
			s, err := client.RunStatus(ctx, filepath.Base(inside))
			for dest, count := range s.Connections {
				if dest.Port() == port {
					n += count
				}
			}
			return n, err
		},
		Fresh: func(ctx context.Context) (*probe.Prober, func() error, error) { return a.place(ctx, client, outside) },
		Command: func() *exec.Cmd {
			return exec.Command("/proc/self/exe", "doctor", attemptCommand)
		},
	}
	return p, end, nil
}

// probeWidths are wide enough for what a row of the probe can hold.
var probeWidths = []int{len(probe.Captured), len(probe.Captured), len(probe.Mapped), 0}

func cells(texts ...string) []cell {
	t := table{}
	row := t.add(texts...)
	for i := range row {
		row[i].style = bold
	}
	return row
}

func (a *app) writeProbe(r *probe.Row) {
	got := r.Got
	if got == probe.Open && r.Want == probe.Allowed {
		got = probe.Allowed
	}
	row := (&table{}).add(string(got), string(r.Want), string(r.Over), r.Vector)
	switch {
	case !r.Safe():
		row[0].style = red
		row[3].text += ": " + r.Detail
	case r.Got == probe.Open:
		row[0].style = yellow
		row[3].text += ": " + r.Why
	default:
		row[0].style = green
	}
	a.writeRow(a.out, row, probeWidths)
}
