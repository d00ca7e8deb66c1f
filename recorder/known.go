package recorder

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"agentd.dev/decoders"
)

// Facts are those of an event as they were recorded. They implement
// decoders.Facts; entries whose events shared facts share them.
type Facts struct {
	// Fields are those that had a value: string, []string, int64 or bool.
	Fields factFields `json:"fields,omitempty"`
	// Cut names what had one and is not recorded: "exposures" for those, "*" for
	// all, where the record that has the facts was lost.
	Cut       []string   `json:"cut,omitempty"`
	Exposures []Exposure `json:"exposures,omitempty"`
}

// An Exposure is a way in which a request could show protected values, as a
// decoders.Exposure.
type Exposure struct {
	Risk     string   `json:"risk"` // carries, decides or calls
	What     string   `json:"what,omitempty"`
	Function string   `json:"function,omitempty"`
	Columns  []Naming `json:"columns,omitempty"`
}

// Field implements decoders.Facts.
func (f *Facts) Field(name string) any { return f.Fields[name] }

// Lacks reports whether a field is not known here, although it was when the
// event was judged.
func (f *Facts) Lacks(name string) bool {
	_, has := f.Fields[name]
	return !has && (slices.Contains(f.Cut, name) || slices.Contains(f.Cut, "*"))
}

// Exposed are the exposures as the rules judge them.
func (f *Facts) Exposed() []decoders.Exposure {
	var all []decoders.Exposure
	for _, e := range f.Exposures {
		found := decoders.Exposure{Risk: decoders.Risk(max(slices.Index(risks[:], e.Risk), 0)), What: e.What, Function: e.Function}
		for _, c := range e.Columns {
			found.Columns = append(found.Columns, decoders.Column{Schema: c[0], Table: c[1], Name: c[2]})
		}
		all = append(all, found)
	}
	return all
}

// recorded are the keys of a record that Facts are made of.
type recorded struct {
	Facts     factFields `json:"facts"`
	Like      uint64     `json:"like"`
	Cut       []string   `json:"cut"`
	Exposures []Exposure `json:"exposures"`
	ClaimsCut bool       `json:"claims_cut"`
	Loosens
}

// factFields are the fields of a facts object.
type factFields map[string]any

// UnmarshalJSON implements json.Unmarshaler.
func (f *factFields) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*f = make(factFields, len(raw))
	for name, value := range raw {
		var err error
		if (*f)[name], err = factValue(value); err != nil {
			return fmt.Errorf("fact %q: %w", name, err)
		}
	}
	return nil
}

// factValue reads one value. Bytes tell its type.
func factValue(data []byte) (any, error) {
	switch data = bytes.TrimSpace(data); {
	case len(data) == 0:
		return nil, fmt.Errorf("no value")
	case data[0] == '"':
		return decoded[string](data)
	case data[0] == '[':
		return decoded[[]string](data)
	case data[0] == 't' || data[0] == 'f':
		return decoded[bool](data)
	}
	return decoded[int64](data)
}

func decoded[T any](data []byte) (any, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

// own returns the facts that a record has itself, nil if it has none.
func (r *recorded) own() *Facts {
	if r.Facts == nil && r.Cut == nil && r.Exposures == nil {
		return nil
	}
	return &Facts{Fields: r.Facts, Cut: r.Cut, Exposures: r.Exposures}
}

// loginFacts returns the facts of a login's record: what has a key of its own is said
// there.
func (r *record) loginFacts() *Facts {
	f := r.own()
	if f == nil {
		return nil
	}
	for _, own := range [...]struct{ name, value string }{
		{"login.user", r.User},
		{"login.database", r.Database},
		{"login.application", r.Application},
		{"login.credential", r.Credential},
		{"login.as", r.As},
	} {
		if f.Fields == nil {
			f.Fields = factFields{}
		}
		if _, has := f.Fields[own.name]; !has && own.value != "" && !f.Lacks(own.name) {
			f.Fields[own.name] = own.value
		}
	}
	return f
}

// lost are facts of which the record is not there.
var lost = Facts{Cut: []string{"*"}}

// facts returns what is known of the event that r is of, given what the earlier
// records of its session have, by their seq: nil if they have nothing.
func (r *record) facts(earlier func(seq uint64) *Facts) *Facts {
	switch own := r.own(); {
	case r.Type == "login":
		return r.loginFacts()
	case own != nil:
		return own
	case r.Like != 0:
		if f := earlier(r.Like); f != nil {
			return f
		}
		return &lost
	case r.Ref != 0:
		return earlier(r.Ref)
	}
	return nil
}

// A Seen is what a session's decoder looked for: what it did not look for, it
// could not tell.
type Seen struct {
	Learned  []string `json:"learned,omitempty"`  // fields that take more than the client's words
	Watched  []Naming `json:"watched,omitempty"`  // columns
	Searches []string `json:"searches,omitempty"` // that all values may have been searched for
	Bounds   bool     `json:"bounds,omitempty"`   // what would loosen the limits of the session
	Unsaid   bool     `json:"unsaid,omitempty"`   // it is too long to say
}

// Loosens is what a request would do to the limits of its session, as a
// decoders.Loosens.
type Loosens struct {
	Time   string `json:"loosens_time"`
	Writes string `json:"loosens_writes"`
}

// A Naming names columns, as policies do: schema, table and column.
type Naming [3]string
