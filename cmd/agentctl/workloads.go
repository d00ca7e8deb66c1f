package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newWorkloads(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "workloads",
		Short: "List what is captured",
		Long: `Workloads lists the cgroups whose connections agentd captures, with where each
got its name, where agentd listens for it, and what the kernel does with its
connections while agentd is down: closed refuses them, open lets them by.`,
		Example: "  agentctl workloads\n  agentctl workloads -o yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			list, err := client.Workloads(cmd.Context())
			if err != nil {
				return err
			}
			t := &table{head: []string{"NAME", "SOURCE", "SESSIONS", "CAPTURE", "WHEN DOWN", "NETNS", "LISTENERS", "CGROUP"}}
			for _, w := range list {
				state, st := "verified", green
				switch {
				case w.Problem != "":
					state, st = w.Problem, red
				case !w.Verified:
					state, st = "not verified", yellow
				}
				row := t.add(w.Name, w.Source, fmt.Sprint(w.Sessions), state, w.WhenDown, fmt.Sprint(w.Netns), strings.Join(w.Listeners, " "), w.Cgroup)
				row[3].style = st
			}
			return a.show(list, func() { a.write(t) })
		},
	}
}
