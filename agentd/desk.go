package agentd

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/control"
)

// openDesk opens the desk, when the file is this agentd's: the one that ran has
// recorded what became of its requests.
func (d *Daemon) openDesk(from *inheritance) {
	ended := "agentd was restarted"
	if from != nil {
		ended = upgraded
	}
	a := &d.config.Approvals
	d.desk = approvals.Open(approvals.Options{
		Recorder: d.recorder, Log: d.log,
		File: d.config.deskFile(), Ended: ended, Silent: from != nil,
		PerWorkload: a.PerWorkload, Pending: a.Pending, Keep: a.Keep, KeepFor: time.Duration(a.KeepFor),
		Starter: d.runs.starter, Heard: d.tellApproval,
	})
}

const upgraded = "agentd was upgraded"

// closeDesk ends what waits for people, and keeps what became of it, unless that
// is another agentd's business.
func (d *Daemon) closeDesk() error {
	if d.theirs {
		d.desk.Left(upgraded)
		return nil
	}
	return d.desk.Close("agentd was stopped")
}

// capturedAt names the captured workload that a cgroup, by its directory, is
// in, "" for none.
func (d *Daemon) capturedAt(dir string) string {
	for ; strings.HasPrefix(dir, d.capture.Hierarchy()+"/"); dir = filepath.Dir(dir) {
		id, err := cgroup.ID(dir)
		if err != nil {
			continue // it is gone; those above it are not
		}
		if name, source := d.capture.Names(id); source != "" {
			return name
		}
	}
	return ""
}

// starterMark is the attribute of a run's cgroup that says who started it. Only
// root can write it, and it lasts as long as the run does, whichever agentd runs.
const starterMark = "trusted.agentd.starter"

// markStarter notes who starts a run. Observation fails open: of a run without
// a mark nobody can approve anything.
func (r *runs) markStarter(dir string, by control.Peer) {
	uid := strconv.FormatUint(uint64(by.Person()), 10)
	if err := unix.Setxattr(dir, starterMark, []byte(uid), 0); err != nil {
		r.log.Warn("note who started a run: nobody can approve what it asks for", "cgroup", dir, "error", err)
	}
}

// starter returns who started the run that a cgroup, by its path, belongs to.
func (r *runs) starter(path string) (uint32, error) {
	_, below, ok := strings.Cut(path, "/"+runsFolder+"/")
	id, _, _ := strings.Cut(below, "/")
	if !ok {
		return 0, errors.New("it is not in a run's cgroup")
	}
	value := make([]byte, 16)
	n, err := unix.Getxattr(filepath.Join(r.root, runsFolder, id), starterMark, value)
	switch {
	case errors.Is(err, unix.ENOENT):
		return 0, errors.New("the run is over")
	case err != nil:
		return 0, os.NewSyscallError("getxattr", err)
	}
	uid, err := strconv.ParseUint(string(value[:n]), 10, 32)
	return uint32(uid), err
}

// deskStatus tells how many wait for people.
func (d *Daemon) deskStatus() control.ApprovalCount {
	c := d.desk.Counts()
	return control.ApprovalCount{Pending: c.Pending}
}

// addDesk adds the counters of the desk.
func (d *Daemon) addDesk(s *control.Snapshot) {
	c := d.desk.Counts()
	s.ApprovalsPending = int64(c.Pending)
	s.Approvals = map[string]int64{approvals.Refused.String(): c.Refused}
	for state := approvals.Granted; state <= approvals.Withdrawn; state++ {
		s.Approvals[state.String()] = c.Ended[state]
	}
	s.ToDecide = control.Histogram{Counts: c.Took[:], Sum: c.Total.Seconds()}
	for _, most := range approvals.Buckets {
		s.ToDecide.Bounds = append(s.ToDecide.Bounds, most.Seconds())
	}
}
