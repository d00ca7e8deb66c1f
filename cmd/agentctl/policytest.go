package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/suppose"
	"agentd.dev/decoders/all"
	"agentd.dev/policy/document"
)

func newPolicyTest(a *app) *cobra.Command {
	var junit, agentd string
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Try cases that a policy is to decide as expected",
		Long: `Test reads files of cases: who asks what, and which verdict is expected. It exits
with 1 if a policy decides otherwise. docs/policy-testing.md says what files hold.

Nothing is asked of any server. Statements are read by PostgreSQL's grammar, for
which an agentd program is started: the one beside agentctl, else the one in
PATH. Names without a schema are taken to be in "public".`,
		Example: "  agentctl policy test policies/tests/*.yaml\n  agentctl policy test --junit report.xml policies/tests/*.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			results, err := a.testPolicies(cmd.Context(), args, agentd)
			if err != nil {
				return err
			}
			if junit != "" {
				if err := writeJUnit(junit, results); err != nil {
					return err
				}
			}
			failed := 0
			for _, r := range results {
				if len(r.Wrong) > 0 {
					failed++
				}
			}
			if err := a.show(results, func() { a.writeTests(results, failed) }); err != nil {
				return err
			}
			if failed > 0 {
				return saidNo
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&junit, "junit", "", "write a JUnit report to this file, too")
	agentdFlag(cmd, &agentd)
	return cmd
}

// A tested is a case and how it went.
type tested struct {
	File    string   `json:"file"`
	Line    int      `json:"line"`
	Name    string   `json:"name"`
	Verdict string   `json:"verdict"`
	Rule    string   `json:"rule"`
	Reason  string   `json:"reason,omitempty"`
	Wrong   []string `json:"wrong"`
	Assumed []string `json:"assumed,omitempty"`
}

func (a *app) testPolicies(ctx context.Context, files []string, agentd string) ([]tested, error) {
	reader, err := a.reader(agentd)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	all := []tested{}
	for _, file := range files {
		results, err := a.testFile(ctx, file, reader)
		if err != nil {
			return nil, err
		}
		all = append(all, results...)
	}
	return all, nil
}

func (a *app) testFile(ctx context.Context, file string, reader *suppose.Reader) ([]tested, error) {
	suite, err := suppose.Load(file, all.Protocols)
	var problems document.Errors
	if errors.As(err, &problems) {
		a.writeCheckup(&checkup{Problems: problems})
		return nil, saidNo
	}
	if err != nil {
		return nil, err
	}
	engine, err := a.loadPolicy(suite.Policies)
	if err != nil {
		return nil, err
	}
	var list []tested
	for _, r := range suite.Run(ctx, engine, reader) {
		list = append(list, tested{
			File: file, Line: r.Case.Line, Name: r.Case.Name, Verdict: r.Verdict.Outcome.String(), Rule: r.Verdict.Rule,
			Reason: r.Verdict.Reason, Wrong: append([]string{}, r.Wrong...), Assumed: r.Assumed,
		})
	}
	return list, nil
}

func (a *app) writeTests(results []tested, failed int) {
	t := &table{head: []string{"RESULT", "PLACE", "VERDICT", "RULE", "CASE"}}
	for _, r := range results {
		result, st := "ok", green
		if len(r.Wrong) > 0 {
			result, st = "FAILED", red
		}
		row := t.add(result, fmt.Sprintf("%s:%d", r.File, r.Line), r.Verdict, r.Rule, r.Name)
		row[0].style, row[2].style = st, verdictStyles[r.Verdict]
	}
	a.write(t)
	for _, r := range results {
		for _, wrong := range r.Wrong {
			fmt.Fprintf(a.out, "%s:%d: %s: %s\n", oneLine(r.File), r.Line, oneLine(r.Name), oneLine(wrong))
		}
		if len(r.Wrong) > 0 {
			for _, assumed := range r.Assumed {
				fmt.Fprintf(a.out, "  %s\n", oneLine(assumed))
			}
		}
	}
	a.note("%s, %d failed", plural(len(results), "case"), failed)
}

// agentdFlag gives a command the flag --agentd.
func agentdFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "agentd", "", "agentd program that reads statements (default: beside agentctl, or in PATH)")
	cmd.MarkFlagFilename("agentd")
}

// reader returns what reads statements: with the grammar, if there is an agentd.
func (a *app) reader(agentd string) (*suppose.Reader, error) {
	if agentd != "" {
		return suppose.NewReader(agentd)
	}
	self, err := os.Executable()
	if err == nil {
		agentd, err = exec.LookPath(filepath.Join(filepath.Dir(self), "agentd"))
	}
	if err != nil {
		if agentd, err = exec.LookPath("agentd"); err != nil {
			agentd = ""
			a.note("there is no agentd program to read statements: give it with --agentd, or only their words are known")
		}
	}
	return suppose.NewReader(agentd)
}

// A JUnit report, as the CI systems read it.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Time     string      `xml:"timestamp,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr"`
		Line    int           `xml:"line,attr"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a report, one suite for each file of cases.
func writeJUnit(name string, results []tested) error {
	var report junitSuites
	for _, r := range results {
		if n := len(report.Suites); n == 0 || report.Suites[n-1].Name != r.File {
			report.Suites = append(report.Suites, junitSuite{Name: r.File, Time: time.Now().UTC().Format("2006-01-02T15:04:05")})
		}
		suite := &report.Suites[len(report.Suites)-1]
		c := junitCase{Name: r.Name, Class: r.File, File: r.File, Line: r.Line}
		suite.Tests++
		if len(r.Wrong) > 0 {
			suite.Failures++
			c.Failure = &junitFailure{Message: strings.Join(r.Wrong, "; "), Text: r.Reason}
		}
		suite.Cases = append(suite.Cases, c)
	}
	text, err := xml.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the JUnit report: %w", err)
	}
	return os.WriteFile(name, append([]byte(xml.Header), append(text, '\n')...), 0o666)
}
