package main

import (
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
)

func newConnections(a *app) *cobra.Command {
	var workload string
	cmd := &cobra.Command{
		Use:   "connections",
		Short: "List the connections that agentd does not see",
		Long: `Connections lists what captured workloads have beside agentd: TCP connections and
connected UDP sockets from before they were captured, or let past while agentd
was away. What goes through agentd is under sessions.

With capture.takeover: destroy, agentd resets them when it captures a workload,
so that they come again through it. Those that say why under STAYS it leaves
alone.`,
		Example: "  agentctl connections\n  agentctl connections --workload coder -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			list, err := client.Connections(cmd.Context())
			if err != nil {
				return err
			}
			if workload != "" {
				list = slices.DeleteFunc(list, func(c control.Connection) bool { return c.Workload != workload })
			}
			return a.show(list, func() { a.writeConnections(list) })
		},
	}
	cmd.Flags().StringVar(&workload, "workload", "", "only those of this workload or run")
	return cmd
}

func (a *app) writeConnections(list []control.Connection) {
	t := &table{head: []string{"WORKLOAD", "PROTOCOL", "LOCAL", "REMOTE", "STATE", "PID", "STAYS"}}
	for _, c := range list {
		pid := ""
		if c.PID != 0 {
			pid = strconv.Itoa(c.PID)
		}
		t.add(c.Workload, c.Protocol, c.Local, c.Remote, c.State, pid, c.Stays)
	}
	a.write(t)
	if len(list) == 0 {
		a.note("there is none")
	}
}
