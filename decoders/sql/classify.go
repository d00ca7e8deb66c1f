package sql

import "bytes"

// classify reads a key. Where the grammar would be needed to tell whether a
// word is a verb it takes it for one: a verb too many refuses what might have
// been let through, a verb too few lets through what nobody judged.
func classify(key []byte, w *watch) *Facts {
	c := classifier{facts: &Facts{Normalized: readable(key)}, watch: w}
	c.facts.Secret = len(key) > 0 && key[len(key)-1] == aSecret
	if hasSkeleton(key) {
		c.facts.Key = bytes.Clone(key)
	}
	t, i := scan(key, 0)
	for t.kind != end {
		next, after := scan(key, i)
		c.token(t, next)
		c.before, c.prev = c.prev, t
		t, i = next, after
	}
	c.finish()
	if c.facts.Secret {
		c.facts.Normalized = string(new(Analyzer).Redact(nil, []byte(c.facts.Normalized)))
	}
	c.facts.Unclassified = reasons[c.why].text
	return c.facts.seal()
}

type classifier struct {
	facts *Facts
	watch *watch
	why   reason
	prev  token
	depth int // of parentheses
	statement

	before token // the one before prev
}

// A statement is what is known of the one being read.
type statement struct {
	lead    string // its first word, "" before that
	traits  trait  // of its verbs so far
	start   bool   // a verb must come now
	await   awaited
	command string // of CREATE, ALTER and DROP
	base    int    // the depth at which lead is
	merge   bool   // MERGE came
	body    int    // how many of BEGIN ATOMIC and CASE have no END yet
	naming  string // the verb whose name is still to come
	last    token  // the last token that could be a name
}

// An awaited thing must come before something else is looked at.
type awaited uint8

const (
	nothing   awaited = iota
	anAs              // PREPARE name (types) AS
	aFor              // DECLARE name ... CURSOR ... FOR
	anExplain         // EXPLAIN, then a statement
	options           // EXPLAIN (
	anObject          // CREATE, ALTER, DROP
)

func (c *classifier) token(t, next token) {
	switch t.kind {
	case word, quoted, unicode:
		c.watch.see(t, c.facts)
		c.last = t
		if c.naming != "" && c.traits&named != 0 && !c.start {
			c.name(t, next)
			return
		}
	}
	switch t.kind {
	case word:
		c.word(string(t.text), next)
		return
	case ';':
		if c.depth == c.base && c.body == 0 {
			c.finish()
		} else {
			c.start = true // in a rule or a function body
		}
		return
	case '(':
		c.depth++
		if c.await == anExplain {
			if c.prev.is("explain") && next.kind == word && !asVerbs[string(next.text)] {
				c.await = options
			} else {
				c.await, c.start = nothing, true
			}
		}
		if c.lead == "create" && c.prev.kind == word && ruleWords[string(c.prev.text)] {
			_, c.start = verbs[string(next.text)]
		}
		return
	case ')':
		c.depth--
		if c.await == options {
			c.await = anExplain
			return
		}
		if c.lead != "" {
			return
		}
	}
	if c.lead == "" || c.start {
		c.begin("", token{})
	}
}

// finish ends a statement.
func (c *classifier) finish() {
	switch {
	case c.lead == "" && c.prev.kind != '(':
		return
	case c.body > 0:
		c.why = openBody
	case c.start, c.lead == "", c.await != nothing && c.await != anObject:
		c.why = noVerb
	}
	if c.traits&names != 0 {
		c.lastName()
	}
	c.statement = statement{}
	c.base = c.depth
}

func (c *classifier) word(w string, next token) {
	switch {
	case c.start && c.body > 0 && (w == "end" || w == "return"):
		c.start = false
	case c.lead == "", c.start:
		c.begin(w, next)
		return
	}
	switch c.await {
	case anExplain:
		switch w {
		case "analyze", "analyse":
			c.facts.command("explain analyze")
		case "verbose":
		default:
			c.begin(w, next)
		}
		return
	case options:
		if w == "analyze" || w == "analyse" {
			c.facts.command("explain analyze")
		}
		return
	case anAs:
		if w == "as" && c.depth == c.base {
			c.await, c.start = nothing, true
		}
		return
	case aFor:
		if w == "for" {
			c.await, c.start = nothing, true
		}
		return
	case anObject:
		c.object(w, next)
	}
	if c.traits&nests != 0 {
		c.nested(w, next)
	}
}

// begin starts a statement, or one inside another.
func (c *classifier) begin(w string, next token) {
	traits, known := verbs[w]
	if !known {
		c.why = noVerb
		traits = nests
		w = "?"
	}
	if c.lead == "" {
		c.lead = w
		c.base = 0
		c.facts.Statements++
	}
	c.start = false
	c.await = nothing
	c.traits |= traits
	if known && w != "with" {
		c.facts.verb(w)
	}
	if traits&opaque != 0 {
		c.facts.Opaque = true
	}
	if traits&(named|names) != 0 {
		c.naming = w
	}
	if traits&objects != 0 {
		c.await = anObject
	}
	switch w {
	case "table":
		c.facts.verb("select")
	case "merge":
		c.merge = true
	case "explain":
		c.await = anExplain
	case "prepare":
		c.await = anAs
		c.base = c.depth
	case "declare":
		c.await = aFor
	}
	if w == "prepare" && next.is("transaction") {
		c.await, c.naming = nothing, ""
		c.facts.command("prepare transaction")
	}
}

// nested looks at a word for what it may do inside a statement.
func (c *classifier) nested(w string, next token) {
	prev := ""
	switch c.prev.kind {
	case word:
		prev = string(c.prev.text)
	case '.':
		return
	}
	nextWord := ""
	if next.kind == word {
		nextWord = string(next.text)
	}
	switch w {
	case "select":
		if c.prev.kind != ',' && !notSelect[prev] && !(prev == "for" && c.lead == "create") {
			c.facts.verb(w)
		}
	case "table":
		if c.prev.kind != ',' && !notTable[prev] {
			c.facts.verb(w)
			c.facts.verb("select")
		}
	case "values":
		if c.prev.kind == '(' && next.kind == '(' {
			c.facts.verb(w)
		}
	case "insert", "merge":
		if nextWord == "into" || c.merge && prev == "then" {
			c.facts.verb(w)
			c.merge = c.merge || w == "merge"
		}
	case "delete":
		if nextWord == "from" || c.merge && prev == "then" {
			c.facts.verb(w)
		}
	case "update":
		switch {
		case c.prev.kind == ',', notUpdate[prev], prev == "key" && c.before.is("no"):
		case triggers[prev] && c.command == "create trigger":
		case next.kind == quoted, next.kind == unicode, next.kind == word && nextWord != "on" && nextWord != "from":
			c.facts.verb(w)
		}
	case "into":
		if prev != "insert" && prev != "merge" && prev != "as" {
			c.facts.command("select into")
		}
	}
	switch c.lead {
	case "copy":
		c.copied(w, prev, next)
	case "create":
		c.created(w, prev, next)
	}
}

// copied looks at a word of a COPY.
func (c *classifier) copied(w, prev string, next token) {
	switch {
	case c.depth > c.base:
	case w == "from", w == "to":
		c.facts.command("copy " + w)
	case w == "program" && (prev == "from" || prev == "to") && next.kind == literal:
		c.facts.command("copy program")
		c.facts.Opaque = true
	}
}

// created looks at a word of a CREATE, where statements stand behind AS, in
// the actions of a rule, in a function's body and in a schema.
func (c *classifier) created(w, prev string, next token) {
	nextVerb := false
	if next.kind == word {
		_, nextVerb = verbs[string(next.text)]
	}
	if ruleWords[w] {
		c.start = nextVerb
	}
	switch w {
	case "as":
		c.start = nextVerb && asVerbs[string(next.text)]
		if next.kind == literal && (c.command == "create function" || c.command == "create procedure") {
			c.facts.Opaque = true
		}
	case "create", "grant":
		if c.command == "create schema" {
			c.facts.verb(w)
		}
	case "atomic":
		if prev == "begin" && c.body == 0 {
			c.body, c.start = 1, true
		}
	case "case":
		if c.body > 0 && prev != "as" {
			c.body++
		}
	case "end":
		if c.body > 0 && prev != "as" {
			c.body--
			if c.body == 0 && next.kind != ';' && next.kind != end {
				c.why = openBody
			}
		}
	}
}

// object looks for the kind of object that is made, changed or dropped.
func (c *classifier) object(w string, next token) {
	more, known := objectKinds[w]
	if !known {
		return
	}
	c.await = nothing
	c.command = c.lead + " " + w
	for _, m := range more {
		if next.is(m) {
			c.command += " " + m
		}
	}
	c.facts.command(c.command)
	c.facts.Opaque = c.facts.Opaque || opaqueCommands[c.command]
	c.facts.Secret = c.facts.Secret || secretCommands[c.command]
}
