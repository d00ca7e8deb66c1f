// Package suppose judges what somebody might ask, without a connection: for
// tests of policies, and to explain them.
//
// A text is read by its words and, where there is an agentd to start for it, by
// the grammar. What only a server can tell is assumed, and said so: names
// without a schema are taken to be in "public", and no statement is checked for
// ways around a mask.
package suppose

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"agentd.dev/agentd/grammar"
	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
	"agentd.dev/policy"
)

// A Reader reads texts.
type Reader struct {
	words   *sql.Analyzer
	grammar *grammar.Pool // nil: words are all that is known
}

// NewReader returns a Reader that has agentd, a path, read texts; "": none. The
// error says why the grammar cannot be had.
func NewReader(agentd string) (*Reader, error) {
	r := &Reader{words: sql.NewAnalyzer(nil)}
	if agentd == "" {
		return r, nil
	}
	pool, err := grammar.OpenWith(agentd, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("have %s read statements: %w", agentd, err)
	}
	r.grammar = pool
	return r, nil
}

// Close ends what NewReader started.
func (r *Reader) Close() {
	if r.grammar != nil {
		r.grammar.Close()
	}
}

// A Statement is what can be said of a text.
type Statement struct {
	Facts        decoders.Facts
	Unclassified string
	Assumed      []string // sentences that say what of it is not certain
}

// Read reads a text.
func (r *Reader) Read(text string) Statement {
	f := r.words.Analyze([]byte(text))
	s := Statement{Facts: f, Unclassified: f.Unclassified}
	switch {
	case f.Unclassified != "":
		return s
	case r.grammar == nil:
		s.Assumed = append(s.Assumed, "The grammar was not asked: what only it can tell, as tables and functions, is not known. It takes an agentd program.")
		return s
	}
	m := &sql.Meaning{}
	if f.Statements > 0 {
		m, _ = r.grammar.Study(f.Key, f.Skeleton()).(*sql.Meaning)
	}
	if m == nil || m.Unclear != "" {
		if m == nil {
			m = &sql.Meaning{Unclear: "the grammar says nothing"}
		}
		s.Unclassified = "not understood by the grammar: " + m.Unclear
		s.Facts = sql.Unresolved(f, nil, s.Unclassified)
		return s
	}
	scope := &sql.Scope{Path: []string{"pg_catalog", "public"}, Current: "public", Relations: map[string]string{}, Shadows: map[string]bool{}}
	assumed := assume(scope, m)
	resolved := sql.Resolve(f, m, scope)
	s.Facts = resolved
	if resolved.Unclear != "" {
		s.Unclassified = resolved.Unclear
		s.Facts = sql.Unresolved(f, m, resolved.Unclear)
	}
	if len(assumed) > 0 {
		s.Assumed = append(s.Assumed, fmt.Sprintf("Only the server knows where %s is: taken as public, with no views or partitions.", strings.Join(assumed, ", ")))
	}
	return s
}

// assume settles where relations are that are named without a schema.
func assume(scope *sql.Scope, m *sql.Meaning) (assumed []string) {
	for _, st := range m.Statements {
		for _, t := range st.Tables {
			switch {
			case t.Schema != "" || scope.Relations[t.Table] != "" || t.Write && st.DDL:
			case strings.HasPrefix(t.Table, "pg_"):
				scope.Relations[t.Table] = "pg_catalog"
			default:
				scope.Relations[t.Table] = "public"
				assumed = append(assumed, t.Table)
			}
		}
	}
	return assumed
}

// A Situation is something that somebody asks.
type Situation struct {
	Session policy.Session
	Login   map[string]any // fields of the login
	Kind    decoders.Kinds
	Text    string         // of a statement
	Facts   map[string]any // fields of the event, over what Text says
	Columns []decoders.Column
}

// An Answer is what the rules say to a Situation.
type Answer struct {
	Kind    decoders.Kinds // that the verdict is on: a login that is refused comes first
	Verdict policy.Verdict
	Login   decoders.Event
	Event   decoders.Event
	Facts   map[string]any // all that the event has
	Assumed []string
}

// Judge has the rules of e judge s.
func (r *Reader) Judge(_ context.Context, e *policy.Engine, s *Situation, protocol *decoders.Protocol) Answer {
	rules := e.For(&s.Session)
	return r.judge(rules, s, protocol)
}

func (r *Reader) judge(rules *policy.Rules, s *Situation, protocol *decoders.Protocol) Answer {
	login := &facts{values: s.Login}
	a := Answer{Kind: decoders.Login, Facts: s.Login, Event: decoders.Event{Kind: decoders.Login, Seq: 1, Facts: login, Exceptional: exceptional(login, protocol)}}
	a.Login = a.Event
	a.Verdict = rules.Decide(&a.Event)
	if s.Kind == decoders.Login {
		return a
	}
	if a.Verdict.Outcome != policy.Forward {
		a.Assumed = append(a.Assumed, "The login comes first, and is not let through.")
		return a
	}
	of := &facts{values: s.Facts}
	a = Answer{Kind: s.Kind, Login: a.Login, Event: decoders.Event{Kind: s.Kind, Seq: 2, Text: []byte(s.Text), Record: []byte(s.Text), Columns: s.Columns}}
	if s.Text != "" {
		read := r.Read(s.Text)
		of.under = read.Facts
		a.Event.Unclassified, a.Assumed = read.Unclassified, read.Assumed
	}
	if s.Kind != decoders.Columns {
		a.Event.Facts = of
	}
	a.Verdict = rules.Decide(&a.Event)
	a.Facts = map[string]any{}
	for _, f := range protocol.Fields {
		if v := of.Field(f.Name); v != nil && f.Kinds&s.Kind != 0 {
			a.Facts[f.Name] = v
		}
	}
	return a
}

// exceptional says of a login why it is refused unless a rule allows it.
func exceptional(f decoders.Facts, p *decoders.Protocol) string {
	for _, field := range p.Fields {
		if is, _ := f.Field(field.Name).(bool); is && field.Exceptional {
			return "A login with " + field.Name + " is refused unless a rule allows it."
		}
	}
	return ""
}

// facts are given ones, over others. They implement decoders.Facts.
type facts struct {
	values map[string]any
	under  decoders.Facts
}

// Field implements decoders.Facts.
func (f *facts) Field(name string) any {
	if v, ok := f.values[name]; ok {
		return v
	}
	if f.under != nil {
		return f.under.Field(name)
	}
	return nil
}
