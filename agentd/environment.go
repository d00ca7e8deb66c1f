package agentd

import (
	"regexp"
	"slices"
	"strings"

	"agentd.dev/agentd/identity"
	"agentd.dev/policy/document"
)

const maxVariables = 16

// claimName is what conditions can call a claim.
var claimName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// readEnvironment reads which variables of a process's environment are claims:
// NAME, which is claimed by that in lower case, or KEY=NAME.
func readEnvironment(to *[]identity.Variable) func(document.Value) {
	return func(v document.Value) {
		v.List(func(v document.Value) {
			text, ok := v.Text()
			if !ok {
				return
			}
			key, name, named := strings.Cut(text, "=")
			if !named {
				name, key = text, strings.ToLower(text)
			}
			switch {
			case !variableName.MatchString(name) || !claimName.MatchString(key):
				v.Problem("%q names no variable: write its name, as TASK_ID, or what conditions call it, too, as task=TASK_ID", text)
			case slices.ContainsFunc(*to, func(e identity.Variable) bool { return e.Key == key }):
				v.Problem("claim %q again", key)
			case len(*to) >= maxVariables:
				v.Problem("more than %d variables", maxVariables)
			default:
				*to = append(*to, identity.Variable{Key: key, Name: name})
			}
		})
	}
}
