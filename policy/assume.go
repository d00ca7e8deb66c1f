package policy

import (
	"fmt"
	"regexp"
	"slices"

	"agentd.dev/policy/document"
)

// credentialName is what a configuration may call a credential.
var credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (r *rule) readCredential(v document.Value) {
	name, ok := v.Text()
	if ok && !credentialName.MatchString(name) {
		v.Problem("%q cannot name a credential: use letters, digits, dots, dashes and underscores", name)
		return
	}
	r.login = name
}

// early reports a condition that comes too late: with what agentd logs in is
// settled before the client has said anything.
func (r *rule) early(when document.Value) {
	if r.do != &actions[assume] || r.when == nil {
		return
	}
	if _, general := r.when.programs[""]; !general || r.when.timed || r.when.counted {
		when.Problem("a credential is chosen before the client says who it is: ask for target.* and workload.* only")
	}
}

// Credential returns what agentd is to log in with in a session of these
// rules, and the rule that says so: of those that match, the first, in the
// order of the files. Both are "" if none does. It fails closed: an error, of a
// condition that cannot be evaluated, means that nobody may be logged in.
func (r *Rules) Credential() (name, rule string, err error) {
	for _, c := range r.candidates() {
		switch {
		case c.do != &actions[assume] || c.shadow:
		case c.truth == yes:
			return c.login, c.name, nil
		default:
			return "", c.name, fmt.Errorf("the condition of rule %q could not be evaluated: %w", c.name, c.err)
		}
	}
	return "", "", nil
}

// Lacking returns what is wrong with rules that assume credentials which are
// none of these, nil if nothing is.
func (e *Engine) Lacking(credentials []string) error {
	var report document.Report
	for _, r := range e.rules {
		if r.do == &actions[assume] && !slices.Contains(credentials, r.login) {
			report.Add(Problem{
				File: r.file, Line: r.line, Column: r.column,
				Message: fmt.Sprintf("rule %q assumes credential %q, which the configuration does not have%s", r.name, r.login, document.Choices(r.login, credentials)),
			})
		}
	}
	return report.Err()
}
