package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

func newWorkloads(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "workloads",
		Short: "List what is captured",
		Long: `Workloads lists the cgroups whose connections agentd captures, with where each
got its name, whether it was seen to be captured, and what happens to its
connections while agentd is down.

SEEN is when a connection that agentd had made from inside last came to agentd.
None is made where no process runs: then "verified" is what the kernel says.`,
		Example: "  agentctl workloads\n  agentctl workloads -o yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			list, err := client.Workloads(cmd.Context())
			if err != nil {
				return err
			}
			t := &table{head: []string{"NAME", "SOURCE", "CAPTURE", "SEEN", "WHEN DOWN", "PROCESSES", "NAMESPACES", "POD", "CGROUP"}}
			for _, w := range list {
				state, st := "verified", green
				switch {
				case w.Problem != "":
					state, st = w.Problem, red
				case !w.Verified:
					state, st = "not verified", yellow
				}
				row := t.add(w.Name, w.Source, state, moment(w.Seen), w.WhenDown, fmt.Sprint(w.Processes), fmt.Sprint(w.Namespaces), pod(&recorder.Place{Namespace: w.Namespace, Pod: w.Pod}), w.Cgroup)
				row[2].style = st
			}
			return a.show(list, func() { a.write(t) })
		},
	}
}
