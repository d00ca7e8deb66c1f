package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

func newAuditHold(a *app) *cobra.Command {
	var h recorder.Hold
	var all bool
	cmd := &cobra.Command{
		Use:   "hold [SESSION]",
		Short: "Keep a session's records from being deleted",
		Long: `Hold keeps rules of retention (record.retention) from deleting what a session's
records are in, or with --all anything, until audit release ends it. The log
says who held what, when and why, and audit verify names what was deleted all
the same. Without arguments hold lists what is held.

Of an encrypted log, --identity is needed to find where a session is.`,
		Example: `  agentctl audit hold 3F7K --name case-7 --why 'asked for by counsel'
  agentctl audit hold --all --name inquiry
  agentctl audit release case-7`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			if len(args) == 0 && !all {
				list, err := client.Holds(cmd.Context())
				if err != nil {
					return err
				}
				return a.show(list, func() { a.writeHolds(list) })
			}
			if h.Name == "" || len(args) == 1 && all {
				return &exitError{usage, errors.New("give a session or --all, and with --name what the hold is called")}
			}
			if len(args) == 1 {
				ids, err := a.identities()
				if err != nil {
					return err
				}
				folder, _, err := a.whereLog(cmd.Context())
				if err != nil {
					return err
				}
				log, err := recorder.OpenFolder(folder, ids...)
				if err != nil {
					return err
				}
				if h.Session, h.From, h.To, err = log.SegmentsOf(args[0]); err != nil {
					return err
				}
			}
			held, err := client.Hold(cmd.Context(), h)
			if err != nil {
				return err
			}
			return a.show(held, func() { a.writeHolds([]recorder.Hold{held}) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "hold everything that there is and comes")
	cmd.Flags().StringVar(&h.Name, "name", "", "what the hold is called, to release it by")
	cmd.Flags().StringVar(&h.Why, "why", "", "why, for the log")
	return cmd
}

func newAuditRelease(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "release NAME",
		Short:   "End a hold",
		Long:    `Release ends a hold of audit hold. The log says who did, and when.`,
		Example: "  agentctl audit release case-7",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			return client.Release(cmd.Context(), args[0])
		},
	}
}

func (a *app) writeHolds(list []recorder.Hold) {
	t := &table{head: []string{"NAME", "SESSION", "SINCE", "BY", "WHY"}}
	for _, h := range list {
		session := h.Session
		if session == "" {
			session = "all"
		}
		t.add(h.Name, session, h.Since.Local().Format(time.DateTime), h.By, h.Why)
	}
	a.write(t)
	if len(list) == 0 {
		a.note("nothing is held")
	}
}
