// Package where judges recorded statements and sessions by a condition in CEL,
// as policies judge them by before.
//
// A condition speaks of what the record says, by the names that policies have
// for it where there is one. It is checked when it is compiled: what has another
// type, or another name, is an error that says so. It decides nothing but what
// is shown.
package where

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"agentd.dev/recorder"
)

// maxCost bounds what judging one statement may cost, in CEL's units.
const maxCost = 1 << 20

// A Condition is compiled. It may be used by several goroutines.
type Condition struct {
	program   cel.Program
	Statement bool // it speaks of statements, not of sessions alone
	Text      bool // it speaks of their text
}

type variable struct {
	name string
	typ  *cel.Type
	of   func(*recorder.Statement, *recorder.Summary) any
}

// ofSession is what can be asked of both.
var ofSession = []variable{
	{"session.id", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.ID }},
	{"session.state", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.State }},
	{"session.start", cel.TimestampType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Start }},
	{"session.took", cel.DurationType, func(_ *recorder.Statement, o *recorder.Summary) any { return took(o) }},
	{"session.statements", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Statements }},
	{"session.denied", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Denied }},
	{"session.failed", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Failed }},
	{"session.rows", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Rows }},
	{"session.bytes", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Bytes }},
	{"session.masked", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Masked }},
	{"target.name", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Target }},
	{"target.address", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Address }},
	{"target.host", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Host }},
	{"target.protocol", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Protocol }},
	{"target.labels", labels, func(_ *recorder.Statement, o *recorder.Summary) any { return known(o.TargetLabels) }},
	{"workload.name", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Workload }},
	{"workload.source", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Source }},
	{"workload.cgroup", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Cgroup }},
	{"workload.unit", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Unit }},
	{"workload.pid", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return int64(o.PID) }},
	{"workload.uid", cel.IntType, func(_ *recorder.Statement, o *recorder.Summary) any { return int64(o.UID) }},
	{"workload.comm", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Comm }},
	{"workload.exe", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Exe }},
	{"workload.namespace", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Namespace }},
	{"workload.pod", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Pod }},
	{"workload.container", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Container }},
	{"workload.image", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Image }},
	{"workload.service_account", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.ServiceAccount }},
	{"workload.owner", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Owner }},
	{"workload.labels", labels, func(_ *recorder.Statement, o *recorder.Summary) any { return known(o.Labels) }},
	{"login.user", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.User }},
	{"login.database", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Database }},
	{"login.application", cel.StringType, func(_ *recorder.Statement, o *recorder.Summary) any { return o.Application }},
	{"claimed", labels, func(s *recorder.Statement, o *recorder.Summary) any {
		if s != nil {
			return known(s.Claims)
		}
		return known(o.Claims)
	}},
}

// ofStatement is what only statements have.
var ofStatement = []variable{
	{"text", cel.StringType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Text }},
	{"time", cel.TimestampType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Time }},
	{"kind", cel.StringType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Kind }},
	{"sql.verbs", cel.ListType(cel.StringType), func(s *recorder.Statement, _ *recorder.Summary) any { return s.Verbs }},
	{"sql.tables", cel.ListType(cel.StringType), func(s *recorder.Statement, _ *recorder.Summary) any { return s.Tables }},
	{"verdict", cel.StringType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Verdict }},
	{"rule", cel.StringType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Rule }},
	{"approval", cel.StringType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Approval }},
	{"approvers", cel.ListType(cel.StringType), func(s *recorder.Statement, _ *recorder.Summary) any { return s.Approvers }},
	{"rows", cel.IntType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Rows }},
	{"took", cel.DurationType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Took }},
	{"code", cel.StringType, func(s *recorder.Statement, _ *recorder.Summary) any { return s.Code }},
}

var labels = cel.MapType(cel.StringType, cel.StringType)

func known(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func took(o *recorder.Summary) time.Duration {
	if o.End.IsZero() {
		return 0
	}
	return o.End.Sub(o.Start)
}

// Names are what conditions can speak of.
func Names() (names []string) {
	for _, v := range slices.Concat(ofSession, ofStatement) {
		names = append(names, v.name)
	}
	return names
}

// Compile compiles a condition.
func Compile(text string) (*Condition, error) {
	var options []cel.EnvOption
	for _, v := range slices.Concat(ofSession, ofStatement) {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, wrong(text, issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the condition %q is a %s, not true or false: compare it with something", text, t)
	}
	c := &Condition{}
	if c.program, err = env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost)); err != nil {
		return nil, fmt.Errorf("the condition %q: %w", text, err)
	}
	for _, ref := range checked.NativeRep().ReferenceMap() {
		c.mention(ref)
	}
	return c, nil
}

func (c *Condition) mention(ref *ast.ReferenceInfo) {
	if slices.ContainsFunc(ofStatement, func(v variable) bool { return v.name == ref.Name }) {
		c.Statement = true
	}
	c.Text = c.Text || ref.Name == "text"
}

// wrong says what is wrong with a condition, on one line.
func wrong(text string, issues *cel.Issues) error {
	first := issues.Errors()[0]
	what := strings.Split(first.Message, "\n")[0]
	if name, ok := strings.CutPrefix(what, "undeclared reference to '"); ok {
		name, _, _ = strings.Cut(name, "'")
		what = fmt.Sprintf("there is no %s: give one of %s", name, strings.Join(Names(), ", "))
	}
	return fmt.Errorf("the condition %q, at character %d: %s", text, first.Location.Column()+1, what)
}

// Fits reports whether the condition holds for a statement of a session, or for
// a session if s is nil. What it cannot say, as a claim that is not there, does
// not hold.
func (c *Condition) Fits(s *recorder.Statement, o *recorder.Summary) (bool, error) {
	value, _, err := c.program.Eval(asked{s, o})
	if err != nil {
		if strings.Contains(err.Error(), "no such key") {
			return false, nil
		}
		return false, fmt.Errorf("judge the condition: %w", err)
	}
	holds, ok := value.Value().(bool)
	return ok && holds, nil
}

// asked gives the values of variables as they are asked for.
type asked struct {
	s *recorder.Statement
	o *recorder.Summary
}

// ResolveName implements cel.Activation.
func (a asked) ResolveName(name string) (any, bool) {
	v, ok := byName[name]
	if !ok {
		return nil, false
	}
	return v(a.s, a.o), true
}

// Parent implements cel.Activation.
func (asked) Parent() cel.Activation { return nil }

var byName = func() map[string]func(*recorder.Statement, *recorder.Summary) any {
	m := map[string]func(*recorder.Statement, *recorder.Summary) any{}
	for _, v := range slices.Concat(ofSession, ofStatement) {
		m[v.name] = v.of
	}
	return m
}()
