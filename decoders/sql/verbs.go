package sql

// A trait is what the classifier must know of a verb.
type trait uint8

const (
	nests   trait = 1 << iota // may have statements inside: look for them
	opaque                    // what it does is not in the text
	objects                   // the kind of an object follows: DROP TABLE
	named                     // a prepared statement's or cursor's name follows at once
	names                     // such a name, or ALL, ends the statement
)

// verbs are the words that a statement can start with, through PostgreSQL 18.
// Replication commands are not among them.
var verbs = map[string]trait{
	"select": nests, "values": nests, "table": nests, "with": nests,
	"insert": nests, "update": nests, "delete": nests, "merge": nests,
	"copy": nests, "explain": nests,
	"prepare": nests | named, "execute": nests | named | opaque, "declare": nests | named,
	"deallocate": names, "fetch": names, "move": names, "close": names, "discard": names,
	"do": opaque, "call": nests | opaque, "load": opaque,
	"create": nests | objects, "alter": objects, "drop": objects,
	"comment": 0, "security": 0, "import": 0, "refresh": 0, "reassign": 0,
	"truncate": 0, "grant": 0, "revoke": 0,
	"begin": 0, "start": 0, "commit": 0, "end": 0, "rollback": 0, "abort": 0,
	"savepoint": 0, "release": 0,
	"set": 0, "reset": 0, "show": 0,
	"listen": 0, "notify": 0, "unlisten": 0, "lock": 0,
	"analyze": 0, "analyse": 0, "vacuum": 0, "reindex": 0, "cluster": 0, "checkpoint": 0,
}

// asVerbs may follow AS in a CREATE.
var asVerbs = set("select", "insert", "update", "delete", "merge", "values", "table", "with", "execute")

// Words before which a word that could be a verb is something else: a label, a
// lock, a privilege, an event of a rule or policy. Names that CTEs may give to
// columns must not be among them.
var (
	notSelect = set("on", "grant")
	notTable  = set("as", "into", "temp", "temporary", "unlogged", "create", "foreign", "for", "add", "on", "set", "drop")
	notUpdate = set("as", "for", "on", "or", "grant")
)

// triggers are words before an event in CREATE TRIGGER.
var triggers = set("before", "after", "of")

// ruleWords come before the action of a rule, or its list of actions.
var ruleWords = set("do", "also", "instead")

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// objectKinds are the words behind CREATE, ALTER and DROP that name the kind
// of thing; others before them (OR REPLACE, TEMP, UNIQUE ...) are passed over.
// One of the words listed with it belongs to it, if it follows.
var objectKinds = map[string][]string{
	"access": {"method"}, "aggregate": nil, "cast": nil, "collation": nil, "conversion": nil,
	"database": nil, "default": {"privileges"}, "domain": nil, "event": {"trigger"},
	"extension": nil, "foreign": {"table", "data"}, "function": nil, "group": nil, "index": nil,
	"language": nil, "large": {"object"}, "materialized": {"view"}, "operator": {"class", "family"},
	"owned": nil, "policy": nil, "procedure": nil, "publication": nil, "role": nil, "routine": nil,
	"rule": nil, "schema": nil, "sequence": nil, "server": nil, "statistics": nil,
	"subscription": nil, "system": nil, "table": nil, "tablespace": nil, "text": {"search"},
	"transform": nil, "trigger": nil, "type": nil, "user": {"mapping"}, "view": nil,
}

// opaqueCommands run what their text does not show.
var opaqueCommands = map[string]bool{
	"create extension": true, "alter extension": true, "copy program": true,
}

// secretCommands take passwords and keys as options or connection strings.
var secretCommands = map[string]bool{
	"create subscription": true, "alter subscription": true,
	"create server": true, "alter server": true,
	"create user mapping": true, "alter user mapping": true,
	"create foreign data": true, "alter foreign data": true,
	"create foreign table": true, "alter foreign table": true,
}
