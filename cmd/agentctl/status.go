package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
)

func newStatus(a *app) *cobra.Command {
	var here bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how agentd is",
		Long: `Status says what agentd captures, as it verified it and not as it was
configured, and how its policy and its log are.

It exits with 1 if something is wrong: a workload that is not captured, a
configuration or policies that do not load, a credential that cannot be had, a
CA that cannot sign, a log that cannot be written.

With --here, which is for the probes of a container, it exits with 1 if the
agentd that answers is not in the control group of agentctl, and so another
container's, as while one takes over from the other; or if nothing can be
recorded. What is wrong with a workload or a file is then no reason.`,
		Example: "  agentctl status\n  agentctl status -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.show(s, func() { a.writeStatus(&s) }); err != nil {
				return err
			}
			if here {
				if err := besideUs(s.PID); err != nil || s.Log.Problem == "" {
					return err
				}
			}
			if slices.ContainsFunc(s.Credentials, func(c control.Credential) bool { return c.Problem != "" }) || s.Capture.Problem != "" || s.Config.Error != "" || s.Policy.Error != "" || s.Log.Problem != "" || s.CA.Problem != "" {
				return saidNo
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&here, "here", false, "insist on the agentd of this container")
	return cmd
}

// besideUs returns an error if the process is not in our control group.
func besideUs(pid int) error {
	ours, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	theirs, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !bytes.Equal(ours, theirs) {
		return fmt.Errorf("the agentd that answers is another one's: pid %d is not in this control group", pid)
	}
	return nil
}

func (a *app) writeStatus(s *control.Status) {
	a.fact("agentd", plain, "%s on %s, pid %d, up %s", s.Version, s.Node, s.PID, span(s.Uptime.Duration()))
	a.writeCapture(&s.Capture, s.Workloads)
	a.fact("sessions", plain, "%d live, %d since the start", s.Sessions.Live, s.Sessions.Total)
	for _, d := range s.Draining {
		a.fact("", plain, "%s left in the agentd before this one, pid %d", plural(d.Sessions, "session"), d.PID)
	}
	a.fact("verdicts", plain, "%s", counts(s.Verdicts))
	if n := s.Approvals.Pending; n > 0 {
		a.fact("approvals", yellow, "%s for a person (agentctl approvals list)", waiting(n))
	}

	a.fact("config", plain, "%s", joined(s.Config.File, "loaded "+moment(s.Config.Loaded)))
	if len(s.Config.Pending) > 0 {
		a.fact("", yellow, "changed, takes effect at the next start: %s", strings.Join(s.Config.Pending, ", "))
	}
	if s.Config.Error != "" {
		a.fact("", red, "the file as it is now is not in force: %s", s.Config.Error)
	}
	a.fact("policy", plain, "%s of %s, loaded %s", plural(s.Policy.Rules, "rule"), plural(len(s.Policy.Files), "file"), moment(s.Policy.Loaded))
	if s.Policy.Error != "" {
		a.fact("", red, "the files as they are now are not in force: %s", s.Policy.Error)
	}
	a.writeCredentials(s.Credentials)
	a.writeTrust(&s.CA)
	signed := fmt.Sprintf("%d of them signed", s.Log.Size)
	if !s.Log.Checkpoint.IsZero() {
		signed += " " + moment(s.Log.Checkpoint)
	}
	a.fact("log", plain, "%s, %s, in %s", plural(s.Log.Records, "record"), signed, s.Log.Folder)
	if s.Log.Failures > 0 {
		a.fact("", yellow, "%s since the start", plural(s.Log.Failures, "failed write"))
	}
	for _, left := range s.Log.Left {
		a.departure(&left)
	}
	if s.Log.Problem != "" {
		a.fact("", red, "%s", s.Log.Problem)
	}
	if s.Log.Sealing != "" {
		a.fact("", red, "%s", s.Log.Sealing)
	}
}

// writeTrust says in a line whom clients are to trust.
func (a *app) writeTrust(ca *control.CA) {
	for _, c := range ca.Certificates {
		if c.Signing {
			a.fact("ca", plain, "%s, valid until %s (agentctl ca show)", c.Subject, moment(c.Until))
		}
	}
	if ca.Problem != "" {
		a.fact("ca", red, "clients cannot have TLS: %s", ca.Problem)
	}
}

func (a *app) writeCapture(c *control.Capture, workloads []control.Workload) {
	word, st := "verified", green
	if !c.Verified {
		word, st = "not verified", yellow
	}
	a.fact("capture", st, "%s, %s under %s", word, plural(len(workloads), "workload"), c.Root)
	if c.Problem != "" {
		a.fact("", red, "%s", c.Problem)
	}
	for _, lack := range c.Lacks {
		a.fact("", yellow, "not on this kernel: %s", lack)
	}
	for _, w := range workloads {
		if w.Problem != "" {
			a.fact("", red, "%s: %s", w.Name, w.Problem)
		}
		if w.Earlier > 0 {
			a.fact("", yellow, "%s: %s from before the capture (agentctl connections)", w.Name, plural(w.Earlier, "connection"))
		}
	}
}

// writeCredentials prints what agentd logs in with, of which it never has a
// secret to print.
func (a *app) writeCredentials(list []control.Credential) {
	label := "logins"
	for _, c := range list {
		fetched := "not used yet"
		if !c.Fetched.IsZero() {
			fetched = "fetched " + moment(c.Fetched)
		}
		expires := ""
		if !c.Expires.IsZero() {
			expires = "expires " + moment(c.Expires)
		}
		a.fact(label, plain, "%s", joined(c.Name, named("user", c.User), c.Source, fetched, expires))
		if c.Problem != "" {
			a.fact("", red, "%s cannot be used: %s", c.Name, c.Problem)
		}
		if c.Warning != "" {
			a.fact("", yellow, "%s: %s", c.Name, c.Warning)
		}
		label = ""
	}
}

// fact prints one line of a list of named facts, nothing if it is empty.
func (a *app) fact(name string, st style, format string, args ...any) {
	label := fmt.Sprintf("%-9s ", name)
	text := indent(printable(fmt.Sprintf(format, args...)), strings.Repeat(" ", len(label)))
	if text == "" {
		return
	}
	fmt.Fprintln(a.out, a.paint(bold, label)+a.paint(st, text))
}

func waiting(n int) string {
	if n == 1 {
		return "1 statement waits"
	}
	return plural(n, "statement") + " wait"
}

// counts lists numbers by name, in the order of the names.
func counts(by map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, by[name]))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// moment writes a time as this machine's clocks show it.
func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// span writes a duration in its two largest units.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// departure writes how far a way is that checkpoints leave by.
func (a *app) departure(left *control.Departure) {
	last := "none has left yet"
	if !left.At.IsZero() {
		last = fmt.Sprintf("of %s, %s", plural(left.Records, "record"), moment(left.At))
	}
	a.fact("checkpoint", plain, "%s: %s, %s since", left.To, last, plural(left.Behind, "record"))
	if left.Problem != "" {
		a.fact("", yellow, "%s", left.Problem)
	}
}
