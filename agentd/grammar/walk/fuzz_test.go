package walk_test

import (
	"reflect"
	"testing"

	"agentd.dev/agentd/grammar/walk"
)

// FuzzRead reads small texts: the parser's own faults would end the process.
// What is said of a text is always the same, and refers to what is there.
func FuzzRead(f *testing.F) {
	for _, s := range statementsOf(f) {
		f.Add(s.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 {
			return
		}
		m := walk.Read(text)
		if again := walk.Read(text); !reflect.DeepEqual(m, again) {
			t.Fatalf("%q means\n%s, and then\n%s", text, compact(m), compact(again))
		}
		if m.Unclear != "" {
			if len(m.Statements) > 0 {
				t.Fatalf("%q is unclear, and has statements", text)
			}
			return
		}
		for _, s := range m.Statements {
			if s.Kind == "" || len(s.Verbs) == 0 {
				t.Fatalf("%q: a statement of kind %q does %q", text, s.Kind, s.Verbs)
			}
			if s.Open && s.Outputs != nil {
				t.Fatalf("%q is open, and has outputs", text)
			}
			known := map[any]bool{}
			for _, r := range s.Columns {
				known[r] = true
			}
			for _, o := range append(s.Outputs, s.All) {
				for _, r := range o.Refs {
					if !known[r] && !o.Unclear {
						t.Fatalf("%q: an output is made of %v, which is not used", text, r)
					}
				}
			}
			for _, r := range s.Predicates {
				if !known[r] {
					t.Fatalf("%q: %v decides, and is not used", text, r)
				}
			}
		}
	})
}
