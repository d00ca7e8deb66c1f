package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/decoders/all"
	"agentd.dev/policy"
)

func newPolicy(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Check policy files, and try them out",
		Long:    "Policy looks at policy files, and at the log, by itself; agentd need not run.",
		Example: "  agentctl policy check /etc/agentd/policies\n  agentctl policy replay --since 7d ./policies",
	}
	cmd.AddCommand(newPolicyCheck(a), newPolicyTest(a), newPolicyExplain(a), newPolicyReplay(a), newPolicySuggest(a))
	return group(cmd)
}

// A checkup is what policy check found.
type checkup struct {
	OK       bool             `json:"ok"`
	Rules    []policy.Summary `json:"rules"`
	Problems []policy.Problem `json:"problems"`
}

func newPolicyCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE|DIR...",
		Short: "Find everything wrong with policy files",
		Long: `Check reads policy files, and all *.yaml and *.yml of folders, as one set of
rules, just as agentd would load them: keys, names, actions, and the types of
conditions against what each protocol can tell.

It prints the rules, or every problem with file, line and column, and then
exits with 1.`,
		Example: "  agentctl policy check rules.yaml\n  agentctl policy check /etc/agentd/policies -o json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			rules, err := policy.Check(args, all.Protocols)
			var problems policy.Errors
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			found := checkup{OK: err == nil, Rules: append([]policy.Summary{}, rules...), Problems: append([]policy.Problem{}, problems...)}
			if err := a.show(found, func() { a.writeCheckup(&found) }); err != nil {
				return err
			}
			if !found.OK {
				return saidNo
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
}

// writeCheckup prints the rules, or what is wrong, the way compilers do.
func (a *app) writeCheckup(c *checkup) {
	if !c.OK {
		for _, p := range c.Problems {
			fmt.Fprintln(a.errs, printable(p.Error()))
		}
		a.note("%s found", plural(len(c.Problems), "problem"))
		return
	}
	t := &table{head: []string{"RULE", "ON", "DO", "PROTOCOLS", "PLACE"}}
	for _, r := range c.Rules {
		row := t.add(r.Name, r.On, r.Do, strings.Join(r.Protocols, " "), fmt.Sprintf("%s:%d", r.File, r.Line))
		row[2].style = verdictStyles[r.Do]
	}
	a.write(t)
	if len(c.Rules) == 0 {
		a.note("there are no rules: targets answer by their defaults alone")
	}
}
