package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
)

func newTargets(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "targets",
		Short: "List the services that are configured",
		Long: `Targets lists the services that the configuration names, with their addresses
and what happens to a request that no rule speaks of (DEFAULT) and to one that
agentd did not understand (UNCLASSIFIED), and the TLS that clients can have and
that agentd uses to the server, as ` + "`offer/verify-full`" + `. The addresses of a target with a host
are those that DNS says it has, as agentd asked it.`,
		Example: "  agentctl targets\n  agentctl targets -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			list, err := client.Targets(cmd.Context())
			if err != nil {
				return err
			}
			t := &table{head: []string{"NAME", "PROTOCOL", "DEFAULT", "UNCLASSIFIED", "TLS", "LABELS", "ADDRESSES"}}
			for _, target := range list {
				row := t.add(target.Name, target.Protocol, target.Default, target.Unclassified, target.TLS.Client+"/"+target.TLS.Server, labels(target.Labels), addresses(&target))
				row[2].style = verdictStyles[target.Default]
				row[3].style = verdictStyles[target.Unclassified]
				if target.TLS.Problem != "" {
					row[4].style = yellow
					a.note("target %s: its TLS goes by what files were before: %s", target.Name, target.TLS.Problem)
				}
				if target.Problem != "" {
					row[6].style = yellow
				}
			}
			return a.show(list, func() { a.write(t) })
		},
	}
}

// addresses lists a target's addresses, and why they may not be the last word.
func addresses(t *control.Target) string {
	list := strings.Join(t.Addresses, " ")
	if t.Host != "" {
		list = strings.TrimSuffix(t.Host+" at "+list, " at ")
	}
	switch {
	case t.Problem == "":
		return list
	}
	return list + " (" + t.Problem + ")"
}

// labels lists labels as name=value, in the order of the names.
func labels(by map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, name+"="+by[name])
	}
	return strings.Join(parts, ",")
}
