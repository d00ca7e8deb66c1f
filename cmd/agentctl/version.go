package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which agentctl this is",
		Long:    "Version prints the version of agentctl and of the Go it was built with. For\nagentd's own version see status.",
		Example: "  agentctl version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
			}{}
			v.Version, v.Go = built()
			return a.show(v, func() { fmt.Fprintf(a.out, "agentctl %s, %s\n", v.Version, v.Go) })
		},
	}
}

// built is the version of agentctl, and of the Go it was built with.
func built() (version, compiler string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	return cmp.Or(info.Main.Version, "unknown"), info.GoVersion
}
