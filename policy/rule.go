package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/decoders/patterns"
	"agentd.dev/policy/document"
)

// A rule is one rule of a policy file.
type rule struct {
	name    string
	on      decoders.Kinds // the events it judges
	when    *condition     // nil: always
	zone    *time.Location // of its file
	do      *action
	shadow  bool   // it only watches
	message string // for deny, approve and alert: why; for allow: what it allows
	hint    string
	source  string                // of when
	columns []decoders.ColumnName // for mask and alert
	find    []patterns.Pattern    // for mask: what to look for, nil for whole values
	way     decoders.Way          // for mask: what replaces a value, nil for NULL
	as      string                // what records call that
	// predicates, for mask: statements may decide by the columns.
	predicates bool
	functions  []string // for mask: that are harmless, name or schema.name
	login      string   // for assume: the credential
	bounds     bounds   // for limit
	terms      Terms    // for approve

	at           document.Value
	written      *document.Value // the condition
	file         string
	line, column int
}

// events are what a rule may be on, and the events that are meant.
var events = []struct {
	name  string
	kinds decoders.Kinds
}{
	{"login", decoders.Login},
	{"request", decoders.Prepare | decoders.Request},
	{"result", decoders.Columns},
	{"cancel", decoders.Cancel},
}

// Names of rules stand in errors that clients see, in records and in metrics.
var ruleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// reserved are the names under which agentd itself decides.
var reserved = []string{"default", "unclassified", "shutdown", "reload", "credential", "tls"}

// maxNote bounds what clients are told, in bytes.
const maxNote = 1000

// readRule reads one rule but for its condition. It returns what it understood
// of a wrong one, so that the names of all are known.
func readRule(v document.Value, key Key) *rule {
	r := &rule{at: v}
	r.file, r.line, r.column = v.Place()
	given := map[string]document.Value{}
	keys := ruleKeys(r, key)
	for i := range keys {
		read, name := keys[i].Read, keys[i].Name
		keys[i].Read = func(v document.Value) { given[name] = v; read(v) }
	}
	v.Map(keys)
	if r.do != nil && r.on != 0 {
		r.fits(v, given)
	}
	if by, ok := given["by"]; ok && r.do != nil {
		r.readBy(by)
	}
	if r.do == &actions[limit] && r.on&r.do.on != 0 {
		r.bounds.fits(v, r.on == decoders.Login, r.shadow)
	}
	return r
}

// suits reports a condition that does not go with the rule, once it is compiled.
func (r *rule) suits() {
	if r.written != nil {
		r.early(*r.written)
		r.unproven(*r.written)
		r.settled(*r.written)
		r.asksOfRequests(*r.written)
		r.unproven(*r.written)
	}
	if r.do == &actions[allow] && r.on == decoders.Login && (r.written == nil || r.when != nil && !r.when.exceptional) {
		r.at.Problem("a login that no rule denies is let through; to let in one that is refused otherwise, say which: `when: login.replication`")
	}
}

// settled reports a search of all values that depends on the time, or on what was used: what they are
// searched for is settled when a session logs in.
func (r *rule) settled(when document.Value) {
	if r.everywhere() && r.when != nil && (r.when.timed || r.when.counted) {
		when.Problem("what all values are searched for is settled when a session logs in: name columns, or leave out the time and what was used")
	}
}

// ruleKeys are the keys of a rule.
func ruleKeys(r *rule, key Key) []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: r.readName},
		{Name: "on", Required: true, Read: r.readOn},
		{Name: "when", Read: func(v document.Value) { r.written = &v }},
		{Name: "do", Required: true, Read: r.readDo},
		{Name: "mode", Read: r.readMode},
		{Name: "message", Read: note(&r.message)},
		{Name: "hint", Read: note(&r.hint)},
		{Name: "columns", Read: r.readColumns},
		{Name: "find", Read: r.readFind},
		{Name: "with", Read: r.readWith(key)},
		{Name: "predicates", Read: r.readPredicates},
		{Name: "functions", Read: r.readFunctions},
		{Name: "credential", Read: r.readCredential},
		{Name: "rows", Read: count(&r.bounds.rows)},
		{Name: "bytes", Read: r.bounds.readBytes},
		{Name: "affected", Read: count(&r.bounds.affected)},
		{Name: "statements", Read: count(&r.bounds.statements)},
		{Name: "time", Read: r.bounds.readTime},
		{Name: "writes", Read: r.bounds.readWrites},
		{Name: "per", Read: r.bounds.readPer},
		{Name: "by", Read: func(document.Value) {}}, // once it is known for what
		{Name: "need", Read: r.terms.readNeed},
		{Name: "for", Read: r.terms.readFor},
		{Name: "expires", Read: r.terms.readExpires},
		{Name: "inTransaction", Read: r.terms.readOpen},
	}
}

func (r *rule) readName(v document.Value) {
	name, ok := v.Text()
	switch {
	case !ok:
		return
	case !ruleName.MatchString(name):
		v.Problem("%q cannot name a rule: use up to 64 letters, digits, dots, dashes and underscores", name)
	case slices.Contains(reserved, name):
		v.Problem("%q is how agentd names its own decisions: choose another name", name)
	}
	r.name = name
	r.file, r.line, r.column = v.Place()
}

func (r *rule) readOn(v document.Value) {
	names := make([]string, len(events))
	for i, e := range events {
		names[i] = e.name
	}
	if i, ok := v.Choice(names); ok {
		r.on = events[i].kinds
	}
}

func (r *rule) readDo(v document.Value) {
	names := make([]string, len(actions))
	for i := range actions {
		names[i] = actions[i].name
	}
	if i, ok := v.Choice(names); ok {
		r.do = &actions[i]
	}
}

// modes are whether a rule decides, or only watches.
var modes = []string{"enforce", "shadow"}

func (r *rule) readMode(v document.Value) {
	if i, ok := v.Choice(modes); ok {
		r.shadow = i == 1
	}
}

// readBy reads for whom a limit counts, or who may approve.
func (r *rule) readBy(v document.Value) {
	switch r.do {
	case &actions[limit]:
		r.bounds.readBy(v)
	case &actions[approve]:
		r.terms.readBy(v)
	}
}

// note reads something that a client is told.
func note(to *string) func(document.Value) {
	return func(v document.Value) {
		text, ok := v.Text()
		text = strings.Join(strings.Fields(text), " ")
		switch {
		case !ok:
		case text == "":
			v.Problem("says nothing: leave the key out, or tell clients something")
		case len(text) > maxNote:
			v.Problem("longer than %d bytes", maxNote)
		case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
			v.Problem("a control character: plain text only")
		default:
			*to = text
		}
	}
}

func (r *rule) readColumns(v document.Value) {
	n := 0
	v.List(func(v document.Value) {
		n++
		text, ok := v.Text()
		if !ok {
			return
		}
		c, err := parseColumn(text)
		if err != nil {
			v.Problem("%v", err)
			return
		}
		r.columns = append(r.columns, c)
	})
	if n == 0 {
		v.Problem(`name at least one column, as "users.email"`)
	}
}

// fits reports what of a rule does not go with its action.
func (r *rule) fits(v document.Value, given map[string]document.Value) {
	if r.on&r.do.on == 0 {
		given["on"].Problem("%s", r.do.misplaced(r.on))
	}
	for _, key := range []string{
		"message", "hint", "columns", "find", "with", "predicates", "functions", "credential",
		"rows", "bytes", "affected", "statements", "time", "writes", "per", "by", "need", "for", "expires", "inTransaction",
	} {
		value, present := given[key]
		switch wanted, known := r.do.keys[key]; {
		case present && !known:
			value.Problem("%s has no %q: %s", r.do.name, key, r.do.why)
		case wanted && !present:
			v.Problem("%s needs %q: %s", r.do.name, key, r.do.why)
		}
	}
	if columns, ok := given["columns"]; ok && r.do == &actions[alert] && r.on != decoders.Columns {
		columns.Problem("only results have columns that can be watched for: write `on: result`, or ask for sql.columns in the condition")
	}
	if with, ok := given["with"]; ok && r.as == "digits" {
		for _, p := range r.find {
			if p.Name == "email" || p.Name == "jwt" || p.Name == "key" {
				with.Problem("digits leaves letters as they are, which are what %s is made of: write a text, or {hash: true}", p.Name)
			}
		}
	}
	_, columns := given["columns"]
	if _, find := given["find"]; r.do == &actions[mask] && !columns && !find {
		v.Problem("mask needs \"columns\" or \"find\": %s", r.do.why)
	}
}

// kindName is what policies call events of these kinds.
func kindName(kinds decoders.Kinds) string {
	for _, e := range events {
		if e.kinds&kinds != 0 {
			return e.name
		}
	}
	return "event"
}

// kindNames lists kinds, as "prepare and request".
func kindNames(kinds decoders.Kinds) string {
	var found []string
	for i, name := range decoders.Names {
		if kinds&(1<<i) != 0 {
			found = append(found, name)
		}
	}
	return fmt.Sprintf("%s events", strings.Join(found, " and "))
}
