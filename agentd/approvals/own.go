package approvals

import "fmt"

// own says why by may not decide about r because it is their own agent's, nil
// if it is not (docs/decisions/0023-approvals.md).
//
// Cgroups come first: what is captured decides nothing, whoever it runs as. User
// ids say who a person is on the node itself alone; in a container they say
// nothing, and root outside of runs is whoever looks after the node.
//
// It fails closed: who started a run and is not known may be anybody.
func (d *Desk) own(r *request, by *Voter) error {
	w := &r.Workload
	switch {
	case by.Captured != "":
		return fmt.Errorf("%w: your process is in the captured workload %s, and no workload decides", ErrBarred, by.Captured)
	case by.UID == nil || w.Contained:
		return nil
	case w.UID != 0 && (w.UID == *by.UID || w.UID == by.As):
		return fmt.Errorf("%w: %s runs as you, and nobody approves their own agent's requests", ErrBarred, w.Name)
	case w.Source != "run" || d.options.Starter == nil:
		return nil
	}
	starter, err := d.options.Starter(w.Cgroup)
	switch {
	case err != nil:
		return fmt.Errorf("%w: who started %s is not known: %v", ErrBarred, w.Name, err)
	case starter == *by.UID && starter == 0:
		return fmt.Errorf("%w: root has started %s, and so may you have; "+
			"log in as yourself and use sudo, or ask somebody else: nobody approves their own agent's requests", ErrBarred, w.Name)
	case starter == *by.UID:
		return fmt.Errorf("%w: you have started %s, and nobody approves their own agent's requests", ErrBarred, w.Name)
	}
	return nil
}
