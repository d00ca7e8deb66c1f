package sql

// A Volatility says what a function may do, as pg_proc words it.
type Volatility uint8

const (
	Immutable Volatility = iota // nothing but compute
	Stable                      // read, and so differ from statement to statement
	Volatile                    // anything
)

// Builtin says what the functions of a name may do that PostgreSQL itself has
// in pg_catalog: the worst that one of them may. It does not know functions
// that are younger than its tables, which is an error on the safe side, nor
// whether a schema that comes before pg_catalog has one of the same name.
func Builtin(name string) (v Volatility, ok bool) {
	if v, ok := judged[name]; ok {
		return v, true
	}
	return builtin(name)
}

// runners are functions of PostgreSQL's own that run SQL which they are given, or
// views that they are given the names of.
var runners = set(
	"query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "cursor_to_xml", "cursor_to_xmlschema",
	"table_to_xml", "table_to_xmlschema", "table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xmlschema",
	"schema_to_xml_and_xmlschema", "database_to_xml", "database_to_xmlschema", "database_to_xml_and_xmlschema",
	"ts_stat", "ts_rewrite",
)

// judged are functions that are declared to be stable and run whatever SQL a
// table's owner has put into a view, or read what no statement names; and those
// of versions younger than the table.
var judged = map[string]Volatility{
	"table_to_xml": Volatile, "table_to_xmlschema": Volatile, "table_to_xml_and_xmlschema": Volatile,
	"schema_to_xml": Volatile, "schema_to_xmlschema": Volatile, "schema_to_xml_and_xmlschema": Volatile,
	"database_to_xml": Volatile, "database_to_xmlschema": Volatile, "database_to_xml_and_xmlschema": Volatile,

	"any_value": Immutable, "erf": Immutable, "erfc": Immutable, "date_add": Stable, "date_subtract": Stable,
	"pg_input_is_valid": Stable, "pg_input_error_info": Stable, "system_user": Stable, // 16
	"to_bin": Immutable, "to_oct": Immutable, "uuid_extract_timestamp": Immutable, "uuid_extract_version": Immutable, // 17
	"array_sort": Immutable, "array_reverse": Immutable, "casefold": Immutable, "crc32": Immutable, "crc32c": Immutable,
	"gamma": Immutable, "lgamma": Immutable, // 18
	"array_sample": Volatile, "array_shuffle": Volatile, "random_normal": Volatile, "uuidv4": Volatile, "uuidv7": Volatile,
}
