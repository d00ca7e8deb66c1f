package walk

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// What is computed from a value without ever failing, and is NULL only if all of
// what it is made from is, tells nothing by that. The server's own functions and
// types of which it is known are named here; all else may fail. Lengths and sums
// too large for the server are not thought of.

// totals are functions that never fail, whatever they are called with.
var totals = words(`
	text varchar bpchar name lower upper initcap reverse left right length char_length character_length
	octet_length bit_length ascii btrim ltrim rtrim replace translate concat concat_ws md5 strpos position
	quote_literal quote_nullable quote_ident to_json to_jsonb row_to_json json_build_array jsonb_build_array
	json_agg jsonb_agg array_agg string_agg min max count any_value bool_and bool_or every
	sum avg stddev stddev_pop stddev_samp variance var_pop var_samp
	first_value last_value lag lead coalesce num_nulls num_nonnulls`)

// totalsOfFirst are functions that never fail by their first argument.
var totalsOfFirst = words(`substr substring split_part lpad rpad round ceil ceiling floor trunc nth_value to_char`)

// keyed are functions whose first argument, and every second from there, is a key,
// which must not be NULL.
var keyed = words(`json_build_object jsonb_build_object json_object_agg jsonb_object_agg`)

// totalTypes are types to which every value can be cast.
var totalTypes = words(`text varchar bpchar name char`)

// mayFail notes that something is computed from v that may fail. Counts are
// shown as they are.
func (w *walker) mayFail(v value) {
	if !v.counts {
		w.partial = w.union(w.partial, v.of)
	}
}

// calledTotally notes what a call may fail by. Its arguments were read before,
// and are made of v. own: the function is the server's, if there is one.
func (w *walker) calledTotally(name string, own bool, f *pg.FuncCall, v value, sc *scope) {
	if name == "num_nulls" || name == "num_nonnulls" {
		w.decides(v) // as IS NULL
	}
	switch {
	case f.FuncVariadic || !own:
	case totals[name]:
		return
	case totalsOfFirst[name] && len(f.Args) > 0:
		// substring(a, '^x') is a search.
		if name != "substring" || !slices.ContainsFunc(f.Args[1:], notNumber) {
			v = w.exprs(f.Args[1:], sc)
		}
	case name == "format" && len(f.Args) > 0:
		v = w.expr(f.Args[0], sc)
	case keyed[name]:
		v = value{}
		for i := 0; i < len(f.Args); i += 2 {
			v = w.both(v, w.expr(f.Args[i], sc))
		}
	}
	w.mayFail(v)
}

// notNumber says that an expression is not a whole number.
func notNumber(node *pg.Node) bool {
	_, number := node.GetAConst().GetVal().(*pg.A_Const_Ival)
	return !number
}

// totalCast says that no value fails to be cast to t.
func totalCast(t *pg.TypeName) bool {
	name := qualified(t.GetNames())
	return totalTypes[name.Name] && (name.Schema == "" || name.Schema == "pg_catalog") && len(t.GetArrayBounds()) == 0
}
