package recorder

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A Which chooses statements; a zero field chooses all.
type Which struct {
	// Text is words that follow each other in the statement. What is between
	// words does not count, nor does case. If it ends with a star, the last word
	// may go on: customer_ord* finds customer_orders.
	Text string `json:"text,omitempty"`

	Session        string `json:"session,omitempty"` // its whole id
	Workload       string `json:"workload,omitempty"`
	Namespace      string `json:"namespace,omitempty"`
	Pod            string `json:"pod,omitempty"`
	ServiceAccount string `json:"service_account,omitempty"`
	Owner          string `json:"owner,omitempty"`
	Target         string `json:"target,omitempty"`
	Host           string `json:"host,omitempty"`
	Protocol       string `json:"protocol,omitempty"`
	User           string `json:"user,omitempty"`
	Database       string `json:"database,omitempty"`

	Claim    string `json:"claim,omitempty"` // KEY=VALUE, of the session or the statement
	Verb     string `json:"verb,omitempty"`
	Table    string `json:"table,omitempty"` // with or without its schema
	Verdict  string `json:"verdict,omitempty"`
	Rule     string `json:"rule,omitempty"`
	Approval string `json:"approval,omitempty"`
	Approver string `json:"approver,omitempty"` // who agreed to it or refused it
	Group    string `json:"group,omitempty"`    // which such a person is in
	Failed   bool   `json:"failed,omitempty"`   // the server answered with an error
	Denied   bool   `json:"denied,omitempty"`   // it was refused

	Rows int64         `json:"rows,omitempty"` // at least
	Took time.Duration `json:"took,omitempty"` // at least

	Since time.Time `json:"since,omitzero"` // by when it was asked
	Until time.Time `json:"until,omitzero"`
}

// A Statement is one that was asked, with who asked and what came of it.
type Statement struct {
	Cursor         int64             `json:"cursor"` // the index of its record
	Session        string            `json:"session"`
	Seq            uint64            `json:"seq"`
	Time           time.Time         `json:"time"`
	Kind           string            `json:"kind"`
	Workload       string            `json:"workload"`
	Namespace      string            `json:"namespace,omitempty"`
	Pod            string            `json:"pod,omitempty"`
	ServiceAccount string            `json:"service_account,omitempty"`
	Owner          string            `json:"owner,omitempty"`
	Target         string            `json:"target,omitempty"`
	Host           string            `json:"host,omitempty"`
	Protocol       string            `json:"protocol,omitempty"`
	User           string            `json:"user,omitempty"`
	Database       string            `json:"database,omitempty"`
	Claims         map[string]string `json:"claims,omitempty"` // of the session and the statement
	Text           string            `json:"text"`
	Unreadable     string            `json:"unreadable,omitempty"` // why there is no text
	Verbs          []string          `json:"verbs,omitempty"`
	Tables         []string          `json:"tables,omitempty"`
	Verdict        string            `json:"verdict,omitempty"`
	Rule           string            `json:"rule,omitempty"`
	Approval       string            `json:"approval,omitempty"`
	Approvers      []string          `json:"approvers,omitempty"`
	Groups         []string          `json:"groups,omitempty"`
	Rows           int64             `json:"rows"`
	Took           time.Duration     `json:"ns"`
	Code           string            `json:"code,omitempty"`
}

// Fits reports whether w chooses a statement.
func (w *Which) Fits(s *Statement) bool {
	for _, f := range [...]struct{ want, has string }{
		{w.Session, s.Session},
		{w.Workload, s.Workload},
		{w.Namespace, s.Namespace},
		{w.Pod, s.Pod},
		{w.ServiceAccount, s.ServiceAccount},
		{w.Owner, s.Owner},
		{w.Target, s.Target},
		{w.Host, s.Host},
		{w.Protocol, s.Protocol},
		{w.User, s.User},
		{w.Database, s.Database},
		{w.Verdict, s.Verdict},
		{w.Rule, s.Rule},
		{w.Approval, s.Approval},
	} {
		if f.want != "" && f.want != f.has {
			return false
		}
	}
	key, value, _ := strings.Cut(w.Claim, "=")
	said, claimed := s.Claims[key]
	return (w.Claim == "" || claimed && said == value) &&
		(w.Verb == "" || slices.Contains(s.Verbs, strings.ToLower(w.Verb))) &&
		(w.Table == "" || slices.ContainsFunc(s.Tables, func(t string) bool { return names(t, strings.ToLower(w.Table)) })) &&
		(w.Approver == "" || slices.Contains(s.Approvers, w.Approver)) &&
		(w.Group == "" || slices.Contains(s.Groups, w.Group)) &&
		(!w.Failed || s.Code != "") && (!w.Denied || s.Verdict == "deny" || s.Verdict == "close") && s.Rows >= w.Rows && s.Took >= w.Took &&
		(w.Since.IsZero() || !s.Time.Before(w.Since)) && (w.Until.IsZero() || s.Time.Before(w.Until)) &&
		(w.Text == "" || holds(s.Text, w.Text))
}

// names reports whether name is that of a table, with or without its schema.
func names(table, name string) bool {
	return table == name || strings.HasSuffix(table, "."+name)
}

// Words are those of a text, as it is searched.
func Words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}

func holds(text, phrase string) bool {
	all, want := Words(text), Words(phrase)
	if len(want) == 0 {
		return true
	}
	last := len(want) - 1
	goesOn := strings.HasSuffix(strings.TrimSpace(phrase), "*")
	for i := 0; i+last < len(all); i++ {
		if slices.Equal(all[i:i+last], want[:last]) && (all[i+last] == want[last] || goesOn && strings.HasPrefix(all[i+last], want[last])) {
			return true
		}
	}
	return false
}

// Of says whose statement s is. Its own claims stand beside those of the session.
func (s *Statement) Of(o *Summary, claims map[string]string) {
	s.Session, s.Workload, s.Namespace, s.Pod, s.ServiceAccount, s.Owner = o.ID, o.Workload, o.Namespace, o.Pod, o.ServiceAccount, o.Owner
	s.Target, s.Host, s.Protocol, s.User, s.Database = o.Target, o.Host, o.Protocol, o.User, o.Database
	if s.Claims = o.Claims; len(claims) > 0 {
		s.Claims = map[string]string{}
		maps.Copy(s.Claims, claims)
		maps.Copy(s.Claims, o.Claims)
	}
}
