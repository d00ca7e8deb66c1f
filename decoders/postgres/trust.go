package postgres

import (
	"slices"
	"strings"

	"agentd.dev/decoders/sql"
)

// A trust says what may be thought of a function, operator or type.
type trust uint8

const (
	sound    trust = iota // it computes from what it is given, and nothing else
	careless              // it may keep or send what it is given
	stranger              // it may read or keep anything
	nosy                  // it reads tables that the statement does not name
)

// function says what may be thought of a function that a statement calls. An
// unqualified name may be that of any schema's.
func (k *known) function(f sql.Qualified) trust {
	if f.Schema == "information_schema" && strings.HasPrefix(f.Name, "_pg_") {
		return sound
	}
	best := stranger
	if f.Schema == "" || f.Schema == "pg_catalog" {
		best = builtin(f.Name)
	}
	for _, o := range k.functions[f.Name] {
		if f.Schema != "" && f.Schema != o.schema {
			continue
		}
		if !o.safe {
			return max(stranger, best)
		}
		if best == stranger {
			best = sound
		}
	}
	return best
}

// builtin says what may be thought of a function of the server's own.
func builtin(name string) trust {
	v, ok := sql.Builtin(name)
	switch {
	case strings.Contains(name, "_to_xml"), strings.HasPrefix(name, "pg_logical_slot_"), strings.HasPrefix(name, "pg_read_"), readers[name]:
		return nosy
	case !ok:
		return stranger
	case v == sql.Volatile && !idle[name]:
		return careless
	}
	return sound
}

// readers run statements of which the text is a value.
var readers = set("ts_stat", "ts_rewrite")

// idle are functions that are volatile because what they return changes, and
// change nothing themselves.
var idle = set(
	"random", "random_normal", "array_shuffle", "array_sample", "gen_random_uuid", "uuidv4", "uuidv7", "clock_timestamp", "timeofday", "current_query", "currval", "lastval",
	"pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size", "pg_database_size", "pg_tablespace_size",
	"pg_is_in_recovery", "pg_current_wal_lsn", "pg_blocking_pids", "pg_partition_tree", "pg_partition_ancestors",
)

// rowFunctions are those of the server's own that take a whole row: what looks
// like a column of that name may be one of them.
var rowFunctions = set(
	"array_agg", "concat", "hash_record", "json_agg", "json_build_array", "json_build_object", "jsonb_agg",
	"jsonb_build_array", "jsonb_build_object", "max", "min", "num_nonnulls", "num_nulls", "pg_column_size",
	"quote_literal", "quote_nullable", "record_out", "record_send", "row_to_json", "to_json", "to_jsonb", "any_value",
)

// operator says what may be thought of an operator that a statement names.
func (k *known) operator(o sql.Qualified) trust {
	if o.Schema == "pg_catalog" {
		return sound
	}
	found := stranger
	for _, own := range k.operators[o.Name] {
		switch {
		case o.Schema != "" && o.Schema != own.schema:
		case !own.safe:
			return stranger
		default:
			found = sound
		}
	}
	return found
}

// hiddenOperator returns an operator that runs code of which nothing is known,
// and that a statement uses or could use, "" if there is none: one may be called
// as one of the server's own is.
func (k *known) hiddenOperator(normalized string) string {
	for name, all := range k.operators {
		if slices.ContainsFunc(all, func(o own) bool { return !o.safe }) && strings.Contains(normalized, name) {
			return name
		}
	}
	return ""
}

// kind says what may be thought of a type that a statement casts to.
func (k *known) kind(t sql.Qualified) trust {
	for _, name := range []string{t.Name, strings.TrimPrefix(t.Name, "_")} {
		for _, own := range k.types[name] {
			if t.Schema == "" || t.Schema == own.schema {
				return stranger
			}
		}
	}
	return sound
}

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
