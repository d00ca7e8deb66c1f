package postgres

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A reading is what a statement's text means to this session.
type reading struct {
	facts        *sql.Facts    // nil if it was not analysed
	meaning      *sql.Meaning  // nil if the grammar was not asked
	resolved     *sql.Resolved // with what its names mean now, nil if meaning is nil or unclear
	unclassified string
	private      bool // its errors and literals may show protected values or secrets
	secret       bool // it may carry a password or key, or show one
	table        bool // it mentions a protected table
	column       bool // it mentions a protected column
	effect       effect

	exposures []decoders.Exposure
	loosens   decoders.Loosens
	lineage   *lineage // nil if only the words are known
}

// An effect is what a statement may change for those that come after it.
type effect uint8

const (
	renames  effect = 1 << iota // which prepared statement a name means
	recurses                    // which portal a name means
	replans                     // which tables and types names mean
	remodels                    // the catalogue itself
	settles                     // a transaction may end: it may undo a replan, and constraints are checked
	indirect                    // it runs what an earlier statement named
)

// effects of statements by their verb. A verb that is not here may do
// anything.
var effects = map[string]effect{
	"select": 0, "insert": 0, "update": 0, "delete": 0, "merge": 0, "values": 0, "table": 0, "with": 0,
	"copy": 0, "explain": 0, "show": 0, "lock": 0, "truncate": 0, "notify": 0, "listen": 0, "unlisten": 0,
	"analyze": 0, "vacuum": 0, "checkpoint": 0, "move": indirect, "fetch": indirect, "close": replans,
	"begin": 0, "start": 0, "savepoint": 0, "release": 0,
	"commit": settles, "end": settles, "rollback": settles, "abort": settles,
	"set": replans, "reset": replans, "execute": indirect | replans,
	"prepare": renames | replans, "deallocate": renames | replans,
	"discard": renames | recurses | replans, "declare": recurses | replans,
}

// asFacts returns what policies can ask, nil if the text was not analysed.
func (r *reading) asFacts() decoders.Facts {
	if r.resolved != nil {
		return r.resolved
	}
	if r.facts == nil {
		return nil
	}
	return r.facts
}

const anything = renames | recurses | replans | remodels

// read says what text means. It allocates nothing for a statement like the
// last one of its kind. If study is not nil, that has to be called first.
func (d *decoder) read(text []byte) (r reading, study func()) {
	if d.replication {
		if facts := replicates(text); facts != nil {
			return reading{facts: facts}, nil
		}
	}
	facts := d.analyzer.Analyze(text)
	if memo := &d.readings[0]; memo.facts == facts {
		r = memo.reading
	} else if memo := &d.readings[1]; memo.facts == facts {
		r = memo.reading
		d.readings[0], d.readings[1] = d.readings[1], d.readings[0]
	} else {
		meaning, study := d.mean(facts)
		if study != nil {
			return reading{}, study
		}
		r = d.digest(facts, meaning)
		if meaning == nil || meaning.Unclear == "" || meaning.Syntax { // else it may be clear next time
			d.readings[1] = d.readings[0]
			d.readings[0].facts, d.readings[0].reading = facts, r
		}
	}
	if d.tainted && r.effect&indirect != 0 {
		r.blur()
	}
	if d.discreet && r.effect&indirect != 0 { // what is given to a secret's place, or read from there
		r.private, r.secret = true, true
	}
	if d.encoding.foreign && r.unclassified == "" && !ascii(text) {
		r.unclassified = "the session's client_encoding " + d.encoding.name + " is not understood: use UTF8"
	}
	return r, nil
}

// digest draws from facts and meaning what a session needs of them.
func (d *decoder) digest(facts *sql.Facts, meaning *sql.Meaning) reading {
	r := reading{facts: facts, meaning: meaning, unclassified: facts.Unclassified, private: facts.Secret, secret: facts.Secret}
	if meaning != nil && r.unclassified == "" {
		r.unclassified = unclear(meaning)
		if before, _, quotes := strings.Cut(r.unclassified, `"`); quotes && r.secret { // what is in them may be the secret
			r.unclassified = before + "?"
		}
	}
	r.loosens = d.loosens(facts, meaning)
	for _, verb := range facts.Verbs {
		e, ok := effects[verb]
		if !ok {
			e = anything
		}
		r.effect |= e
	}
	if r.unclassified != "" {
		r.effect |= anything
	}
	if strings.Contains(facts.Normalized, "set_config") {
		r.effect |= replans
	}
	if strings.Contains(facts.Normalized, "set constraints") || slices.Contains(facts.Commands, "prepare transaction") {
		r.effect |= settles
	}
	if d.search != nil && r.unclassified == "" {
		r.unclassified = rewritten(facts)
	}
	if !d.masking() {
		return r
	}
	r.table, r.column = facts.Mentions()
	d.weighed(&r)
	r.private = r.private || r.table || r.column || len(r.exposures) > 0 || r.unclassified != ""
	return r
}

// weighed notes in r what it may show of the protected columns of the database.
func (d *decoder) weighed(r *reading) {
	switch {
	case !d.masking(), r.facts == nil, r.facts.Unclassified != "":
	case clearly(r.facts, r.meaning):
		r.lineage = d.catalogue.weigh(r.facts, r.meaning)
		r.lineage.asked = d.catalogue.seq
		r.exposures = r.lineage.exposures
	default:
		r.exposures = d.catalogue.byWords(r.facts)
	}
}

// renewed weighs r again if the catalogue was asked since.
func (d *decoder) renewed(r *reading) {
	if r.lineage != nil && r.lineage.asked != d.catalogue.seq {
		d.weighed(r)
	}
}

// blur makes r that of a statement that shows what another one named.
func (r *reading) blur() {
	r.table, r.column, r.private, r.lineage = true, true, true, nil
}

// touches reports whether the statement uses protected columns.
func (r *reading) touches() bool {
	if r.lineage != nil {
		return r.lineage.touches
	}
	return r.table || r.column
}

// recordable returns what of text may be recorded: text itself, or dst with
// text's literals left out.
func (d *decoder) recordable(dst, text []byte, r *reading) []byte {
	if !r.private {
		return text
	}
	return d.analyzer.Redact(dst[:0], text)
}

// An encoding is what the session's client_encoding does to texts.
type encoding struct {
	name    string
	foreign bool // bytes of ASCII may be part of other characters
}

// foreign are the client encodings in which a byte below 0x80 need not be
// ASCII, so that the server sees other words than a lexer of bytes.
var foreign = map[string]bool{
	"BIG5": true, "GBK": true, "GB18030": true, "UHC": true, "JOHAB": true, "SJIS": true, "SHIFT_JIS_2004": true,
}

// parameter handles a ParameterStatus.
func (d *decoder) parameter(m message) (turn, error) {
	if m.size > headerLen+maxToken {
		return walk, fmt.Errorf("parameter status of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	name, rest, ok := cstring(m.body())
	value, _, ok2 := cstring(rest)
	if !ok || !ok2 {
		return walk, fmt.Errorf("parameter status without end")
	}
	if d.search != nil { // a statement may have set it to any text
		out := append(append(begin(d.server.censored[:0], m.typ), name...), 0)
		out, hit := d.blotServer(out, value, nil)
		if d.server.censored = finish(append(out, 0), 0); hit {
			return d.replaced(m)
		}
	}
	if d.want.Bindings {
		d.settings.report(name, value)
	}
	switch string(name) {
	case "client_encoding":
		d.encoding = encoding{name: string(value), foreign: foreign[string(bytes.ToUpper(value))]}
	case "server_version":
		d.major = major(value)
	case writeSetting:
		return walk, d.bounds.kept(value)
	case "search_path": // told since version 18
		d.epoch++
		d.scoping.stale = d.scoping.wanted
	}
	return walk, nil
}

// affect notes what a statement that is sent now may change.
func (d *decoder) affect(r *reading, slot uint64) {
	d.moves(r)
	d.doubts(r, slot)
	e := r.effect
	if e == 0 {
		return
	}
	if e&remodels != 0 && (r.lineage == nil || r.lineage.remakes) {
		d.remade = d.masking()
	}
	if e&renames != 0 {
		d.renamed = slot
	}
	if e&recurses != 0 {
		d.recursor = slot
	}
	if e&replans != 0 {
		d.epoch++
		d.unsettled = true
	}
	if e&settles != 0 && d.unsettled {
		d.epoch++
	}
	if e&(renames|recurses|remodels) != 0 && r.touches() {
		d.tainted = true
	}
	d.discreet = d.discreet || e&(renames|recurses) != 0 && r.secret
}

// took applies what a statement did to the names the session knows.
func (d *decoder) took(r *reading) {
	if r.effect&renames != 0 {
		d.rename(r.facts)
	}
	if r.effect&recurses != 0 {
		d.forgetPortals()
	}
	if r.effect&remodels != 0 {
		d.catalogue.stale = d.masking()
	}
}

// rename forgets the prepared statements that SQL made, remade or dropped.
func (d *decoder) rename(facts *sql.Facts) {
	if facts == nil || facts.Unclassified != "" {
		d.forgetStatements("")
		return
	}
	for _, n := range facts.Names {
		switch n.Verb {
		case "prepare", "deallocate", "discard":
			d.forgetStatements(n.Name)
			if n.Name == "" {
				d.scoping.deallocated()
			}
		}
	}
}
