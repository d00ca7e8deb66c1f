package main

import (
	"github.com/spf13/cobra"

	"agentd.dev/agentd/doctor"
	"agentd.dev/agentd/probe"
)

// A diagnosis is what the doctor says.
type diagnosis struct {
	Checks []doctor.Finding `json:"checks"`
	Probe  []probe.Row      `json:"probe,omitempty"`
}

func newDoctor(a *app) *cobra.Command {
	var (
		probing bool
		node    doctor.Node
	)
	cmd := &cobra.Command{
		Use:   "doctor [--probe]",
		Short: "Say whether this node is fit for agentd, and what to do if not",
		Long: `Doctor looks at the kernel, cgroups, the daemon and what it captures, and says
what is wrong and what to do about it. It changes nothing.

With --probe it then tries every way around agentd that we know of: processes of
a run of their own, which the daemon captures as it does any other, try to reach
a target in a network namespace that the doctor makes. Each way is first tried
outside of the run, where it must work. Nothing is sent to any other place, and
nothing is left behind, also after Ctrl-C. GOT says what came of it:

  captured  it came to agentd, and to the target only from there
  refused   the call failed
  dropped   the call did not fail, but nothing arrived
  lacking   this kernel has no such thing
  allowed   it arrived, as it should
  open      it arrived without agentd: WHY says how that can be
  broken    it could not be tried

It exits with 1 if a check fails, or if something came past agentd that is not
listed as open (docs/bypass.md). It needs root.`,
		Example: "  agentctl doctor\n  agentctl doctor --probe -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			node.Status, node.Absent = client.Status(cmd.Context())
			d := diagnosis{Checks: doctor.Examine(&node)}
			sick := false
			for _, f := range d.Checks {
				sick = sick || f.State == doctor.Fail
			}
			if a.format == "table" {
				a.writeFindings(d.Checks)
			}
			if probing {
				if node.Absent != nil {
					return node.Absent
				}
				rows, err := a.probe(cmd.Context(), client, node.Status.Capture.Root)
				if err != nil {
					return err
				}
				d.Probe = rows
			}
			for _, r := range d.Probe {
				sick = sick || !r.Safe()
			}
			if err := a.show(&d, func() {}); err != nil {
				return err
			}
			if sick {
				return saidNo
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&probing, "probe", false, "try every way around agentd")
	cmd.Flags().StringSliceVar(&node.Sockets, "runtime", nil, "socket of a container runtime, if it is not one of the usual")
	cmd.Flags().StringVar(&node.Pins, "pins", "/sys/fs/bpf/agentd", "where agentd keeps its programs: capture.pins of its configuration")
	cmd.AddCommand(newAttempt(), newPlace())
	return cmd
}

// gravity says at a glance how grave a finding is.
var gravity = map[doctor.State]style{doctor.OK: green, doctor.Warn: yellow, doctor.Fail: red}

func (a *app) writeFindings(all []doctor.Finding) {
	t := &table{head: []string{"CHECK", "STATE", "FOUND"}}
	for _, f := range all {
		t.add(f.Check, string(f.State), f.Text)[1].style = gravity[f.State]
		if f.Advice != "" {
			t.add("", "", "-> "+f.Advice)
		}
	}
	a.write(t)
}
