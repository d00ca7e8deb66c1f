package suppose

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/policy/document"
)

// A Suite is a file of cases that a policy is to decide as expected.
type Suite struct {
	File     string
	Policies []string // files and folders
	Cases    []Case
}

// A Case is one.
type Case struct {
	Name  string
	Line  int
	Given Situation
	Want  Expected

	protocol *decoders.Protocol
}

// Expected is what a case wants. What is "" may be anything.
type Expected struct{ Verdict, Rule, Message string }

// Load reads a suite. Its error is document.Errors, every problem with its place.
func Load(name string, protocols []decoders.Protocol) (*Suite, error) {
	s := &Suite{File: name}
	var report document.Report
	if v, ok := document.Open(name, &report); ok {
		r := reader{protocols: protocols, folder: filepath.Dir(name), names: map[string]bool{}}
		v.Map([]document.Key{
			{Name: "policies", Required: true, Read: func(v document.Value) { s.Policies = r.paths(v) }},
			{Name: "given", Read: func(v document.Value) { r.common = &v }},
			{Name: "cases", Required: true, Read: func(v document.Value) {
				v.List(func(v document.Value) { s.Cases = append(s.Cases, r.readCase(v)) })
			}},
		})
	}
	return s, report.Err()
}

// A reader reads a file of cases.
type reader struct {
	protocols []decoders.Protocol
	folder    string
	names     map[string]bool
	common    *document.Value // what all cases are given
}

func (r *reader) paths(v document.Value) (all []string) {
	v.List(func(v document.Value) {
		if path, ok := v.Text(); ok {
			if !filepath.IsAbs(path) {
				path = filepath.Join(r.folder, path)
			}
			all = append(all, path)
		}
	})
	return all
}

func (r *reader) readCase(v document.Value) (c Case) {
	_, c.Line, _ = v.Place()
	c.Given = Situation{Kind: decoders.Request, Login: map[string]any{}, Facts: map[string]any{}}
	c.Given.Session.Scope = "plaintext"
	c.Given.Session.Target.Protocol = r.protocols[0].Name
	var given, fields *document.Value
	if r.common != nil {
		r.given(*r.common, &c, &fields)
	}
	v.Map([]document.Key{
		{Name: "name", Required: true, Read: func(v document.Value) {
			c.Name, _ = v.Text()
			if r.names[c.Name] {
				v.Problem("case %q again: names must differ", c.Name)
			}
			r.names[c.Name] = true
		}},
		{Name: "given", Required: true, Read: func(v document.Value) { given = &v; r.given(v, &c, &fields) }},
		{Name: "expect", Required: true, Read: c.Want.read},
	})
	c.settle(given, fields, r.protocols)
	return c
}

var verdicts = []string{"allow", "deny", "mask", "close", "hold"}

func (w *Expected) read(v document.Value) {
	v.Map([]document.Key{
		{Name: "verdict", Required: true, Read: func(v document.Value) {
			if i, ok := v.Choice(verdicts); ok {
				w.Verdict = verdicts[i]
			}
		}},
		{Name: "rule", Read: text(&w.Rule)},
		{Name: "message", Read: text(&w.Message)},
	})
}

func text(to *string) func(document.Value) {
	return func(v document.Value) { *to, _ = v.Text() }
}

// kinds are what a case can be on.
var kinds = []struct {
	name string
	kind decoders.Kinds
}{{"login", decoders.Login}, {"request", decoders.Request}, {"result", decoders.Columns}, {"cancel", decoders.Cancel}}

func (r *reader) given(v document.Value, c *Case, fields **document.Value) {
	g := &c.Given
	v.Map([]document.Key{
		{Name: "workload", Read: func(v document.Value) { workload(v, &g.Session.Identity) }},
		{Name: "target", Read: func(v document.Value) { r.target(v, &g.Session.Target) }},
		{Name: "login", Read: func(v document.Value) { r.login(v, g) }},
		{Name: "on", Read: func(v document.Value) {
			names := make([]string, len(kinds))
			for i := range kinds {
				names[i] = kinds[i].name
			}
			if i, ok := v.Choice(names); ok {
				g.Kind = kinds[i].kind
			}
		}},
		{Name: "sql", Read: text(&g.Text)},
		{Name: "facts", Read: func(v document.Value) { *fields = &v }},
		{Name: "columns", Read: func(v document.Value) {
			v.List(func(v document.Value) {
				name, _ := v.Text()
				parts := strings.Split(name, ".")
				if len(parts) != 3 {
					v.Problem(`%q names no column: write schema.table.column`, name)
					return
				}
				g.Columns = append(g.Columns, decoders.Column{Index: len(g.Columns), Schema: parts[0], Table: parts[1], Name: parts[2]})
			})
		}},
	})
}

// workload reads a name, or all that is known of one.
func workload(v document.Value, id *policy.Identity) {
	if !v.IsMap() {
		id.Workload, _ = v.Text()
		return
	}
	v.Map([]document.Key{
		{Name: "name", Read: text(&id.Workload)},
		{Name: "source", Read: text(&id.Source)},
		{Name: "cgroup", Read: text(&id.Cgroup)},
		{Name: "unit", Read: text(&id.Unit)},
		{Name: "uid", Read: func(v document.Value) {
			n, _ := v.Int()
			id.Process.UID = uint32(n)
		}},
		{Name: "pid", Read: func(v document.Value) { id.Process.PID, _ = v.Int() }},
		{Name: "comm", Read: text(&id.Process.Comm)},
		{Name: "exe", Read: text(&id.Process.Exe)},
		{Name: "namespace", Read: text(&id.Namespace)},
		{Name: "pod", Read: text(&id.Pod)},
		{Name: "container", Read: text(&id.Container)},
		{Name: "image", Read: text(&id.Image)},
		{Name: "service_account", Read: text(&id.ServiceAccount)},
		{Name: "owner", Read: text(&id.Owner)},
		{Name: "labels", Read: pairs(&id.Labels)},
	})
}

// target reads a name, or all that is known of one.
func (r *reader) target(v document.Value, t *policy.Target) {
	if !v.IsMap() {
		t.Name, _ = v.Text()
		return
	}
	v.Map([]document.Key{
		{Name: "name", Read: text(&t.Name)},
		{Name: "address", Read: func(v document.Value) {
			word, ok := v.Text()
			if at, err := netip.ParseAddrPort(word); ok && err != nil {
				v.Problem(`%q is no address: write "10.0.0.5:5432"`, word)
			} else {
				t.Address = at
			}
		}},
		{Name: "host", Read: text(&t.Host)},
		{Name: "protocol", Read: func(v document.Value) {
			var names []string
			for _, p := range r.protocols {
				names = append(names, p.Name)
			}
			if i, ok := v.Choice(names); ok {
				t.Protocol = names[i]
			}
		}},
		{Name: "labels", Read: pairs(&t.Labels)},
		{Name: "default", Read: silence(&t.Default)},
		{Name: "unclassified", Read: silence(&t.Unclassified, "approve")},
	})
}

func silence(to *policy.Default, also ...string) func(document.Value) {
	return func(v document.Value) {
		if i, ok := v.Choice(append([]string{"deny", "allow"}, also...)); ok {
			*to = []policy.Default{policy.Refusing, policy.Allowing, policy.Asking}[i]
		}
	}
}

func pairs(to *map[string]string) func(document.Value) {
	return func(v document.Value) {
		*to = map[string]string{}
		v.Pairs(func(key, value document.Value) {
			k, ok := key.Word()
			if text, given := value.Text(); ok && given {
				(*to)[k] = text
			}
		})
	}
}

// login reads the fields of the login, without their prefix.
func (r *reader) login(v document.Value, g *Situation) {
	v.Pairs(func(key, value document.Value) {
		name, _ := key.Word()
		for _, p := range r.protocols {
			for i := range p.Fields {
				if f := &p.Fields[i]; f.Kinds == decoders.Login && f.Name == "login."+name {
					if x, ok := field(value, f); ok {
						g.Login[f.Name] = x
					}
					return
				}
			}
		}
		key.Problem("no protocol has a login.%s: docs/fields.md lists what they have", name)
	})
}

// field reads the value of a field.
func field(v document.Value, f *decoders.Field) (any, bool) {
	switch f.Type {
	case decoders.Strings:
		list := []string{}
		ok := true
		v.List(func(v document.Value) {
			text, is := v.Text()
			list, ok = append(list, text), ok && is
		})
		return list, ok
	case decoders.Int:
		n, ok := v.Int()
		return int64(n), ok
	case decoders.Bool:
		return v.Bool()
	}
	return v.Text()
}

// settle completes what the case is given, once its protocol is known.
func (c *Case) settle(given, fields *document.Value, protocols []decoders.Protocol) {
	g := &c.Given
	i := slices.IndexFunc(protocols, func(p decoders.Protocol) bool { return p.Name == g.Session.Target.Protocol })
	c.protocol = &protocols[max(i, 0)]
	g.Login = Login(c.protocol, g.Login)
	if fields != nil {
		fields.Pairs(func(key, value document.Value) {
			name, _ := key.Word()
			i := slices.IndexFunc(c.protocol.Fields, func(f decoders.Field) bool { return f.Name == name && f.Kinds&g.Kind != 0 })
			if i < 0 {
				key.Problem("a %s of %s has no field %q: docs/fields.md lists what it has", g.Kind, c.protocol.Name, name)
				return
			}
			if x, ok := field(value, &c.protocol.Fields[i]); ok {
				g.Facts[name] = x
			}
		})
	}
	if given == nil {
		return
	}
	switch asked := g.Text != "" || len(g.Facts) > 0; {
	case g.Kind == decoders.Request && !asked:
		given.Problem(`say what is asked: "sql", or "facts"`)
	case g.Kind == decoders.Columns && len(g.Columns) == 0:
		given.Problem(`say which "columns" the result has`)
	case g.Kind != decoders.Request && asked:
		given.Problem(`"sql" and "facts" are of a request: leave "on" out`)
	case g.Text != "" && c.protocol.Name != "postgres":
		given.Problem(`"sql" is of protocol postgres: give "facts"`)
	}
}

// Login is what a login of a protocol says, as far as it is given: the rest is
// as it is of most.
func Login(protocol *decoders.Protocol, given map[string]any) map[string]any {
	all := map[string]any{}
	for i := range protocol.Fields {
		if f := &protocol.Fields[i]; f.Kinds == decoders.Login {
			all[f.Name] = zero[f.Type]
		}
	}
	maps.Copy(all, given)
	if _, has := given["login.as"]; !has && all["login.as"] != nil {
		all["login.as"] = all["login.user"]
	}
	return all
}

var zero = map[decoders.Type]any{decoders.String: "", decoders.Strings: []string{}, decoders.Int: int64(0), decoders.Bool: false}

// A Result is how a case went.
type Result struct {
	Case *Case
	Answer
	Wrong []string // what is not as expected; empty: it passed
}

// Run tries every case.
func (s *Suite) Run(ctx context.Context, e *policy.Engine, r *Reader) []Result {
	all := make([]Result, 0, len(s.Cases))
	for i := range s.Cases {
		c := &s.Cases[i]
		result := Result{Case: c, Answer: r.Judge(ctx, e, &c.Given, c.protocol)}
		v, w := &result.Verdict, &c.Want
		for _, part := range []struct {
			what, got, want string
			fine            bool
		}{
			{"verdict", v.Outcome.String(), w.Verdict, v.Outcome.String() == w.Verdict},
			{"rule", v.Rule, w.Rule, w.Rule == "" || v.Rule == w.Rule},
			{"message", v.Reason, w.Message, strings.Contains(v.Reason, w.Message)},
		} {
			if !part.fine {
				result.Wrong = append(result.Wrong, fmt.Sprintf("%s is %q, want %q", part.what, part.got, part.want))
			}
		}
		all = append(all, result)
	}
	return all
}
