package walk

import "strings"

// What the server's own functions and operators do, as far as it matters here.
// Others are unknown, and named in Functions and Operators.

func words(s string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// builtinOperators are the names of the server's own operators, through
// PostgreSQL 18.
var builtinOperators = words(`
	!! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <-> << <<=
	<<| <= <> != <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&> |/ |>> || ||/ ~
	~* ~<=~ ~<~ ~= ~>=~ ~>~ ~~ ~~*`)

// computes are operators that make a value of two; all others compare.
var computes = words(`+ - * / % ^ || -> ->> #> #>> #- & | #`)

// rowFunctions take a whole row, so that t.f can be a call of them.
var rowFunctions = words(`
	any_value array_agg concat hash_record hstore json_agg json_agg_strict json_build_array json_build_object
	jsonb_agg jsonb_agg_strict jsonb_build_array jsonb_build_object quote_literal quote_nullable record_out
	record_send row_to_json to_json to_jsonb`)

// keepsCounts are functions of which a count comes out as one.
var keepsCounts = words(`
	sum min max avg count abs ceil ceiling floor round trunc sign to_char int2 int4 int8 numeric float4 float8
	lag lead first_value last_value nth_value`)

// manyRows are functions that return as many rows as their arguments say.
var manyRows = words(`
	generate_series generate_subscripts json_array_elements json_array_elements_text json_each json_each_text
	json_object_keys json_populate_recordset json_to_recordset jsonb_array_elements jsonb_array_elements_text
	jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query jsonb_path_query_tz jsonb_populate_recordset
	jsonb_to_recordset regexp_matches regexp_split_to_table string_to_table txid_snapshot_xip unnest ts_debug
	ts_parse ts_stat ts_token_type aclexplode pg_options_to_table each skeys svals`)

// rowsOf are the columns of what some functions return in FROM, "" for one that
// is called as the relation is.
var rowsOf = map[string][]string{
	"generate_series":           {""},
	"generate_subscripts":       {""},
	"regexp_split_to_table":     {""},
	"regexp_matches":            {""},
	"string_to_table":           {""},
	"json_object_keys":          {""},
	"jsonb_object_keys":         {""},
	"jsonb_path_query":          {""},
	"json_array_elements":       {"value"},
	"jsonb_array_elements":      {"value"},
	"json_array_elements_text":  {"value"},
	"jsonb_array_elements_text": {"value"},
	"json_each":                 {"key", "value"},
	"jsonb_each":                {"key", "value"},
	"json_each_text":            {"key", "value"},
	"jsonb_each_text":           {"key", "value"},
}

// keeps are functions that keep what they are called with where others can see
// it, or send it somewhere, or take as long as it says.
var keeps = words(`
	set_config setval setseed nextval pg_notify pg_sleep pg_sleep_for pg_sleep_until
	pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
	pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
	pg_advisory_unlock pg_advisory_unlock_shared
	lo_creat lo_create lo_from_bytea lo_put lo_open lo_truncate lo_truncate64 lo_unlink lo_lseek lo_lseek64
	lowrite lo_export lo_import
	dblink dblink_exec dblink_connect dblink_connect_u dblink_open dblink_send_query
	pg_logical_emit_message pg_create_restore_point pg_create_physical_replication_slot
	pg_create_logical_replication_slot pg_drop_replication_slot pg_replication_origin_create pg_backup_start
	pg_start_backup pg_file_write pg_file_rename pg_file_unlink pg_terminate_backend pg_cancel_backend
	pg_reload_conf pg_rotate_logfile binary_upgrade_create_empty_extension`)

// reads are functions that read what their arguments do not show: other
// queries, files, what other sessions do. Settings, sequences and large objects
// are not among them: they hold what keeps put into them.
var reads = words(`
	query_to_xml query_to_xmlschema query_to_xml_and_xmlschema
	table_to_xml table_to_xmlschema table_to_xml_and_xmlschema
	schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema
	database_to_xml database_to_xmlschema database_to_xml_and_xmlschema
	cursor_to_xml cursor_to_xmlschema
	ts_stat ts_rewrite
	pg_read_file pg_read_binary_file pg_stat_file pg_ls_dir lo_import
	dblink dblink_exec dblink_fetch dblink_get_result dblink_get_notify dblink_open dblink_send_query
	pg_logical_slot_get_changes pg_logical_slot_peek_changes pg_logical_slot_get_binary_changes
	pg_logical_slot_peek_binary_changes
	crosstab crosstab2 crosstab3 crosstab4 crosstabN connectby
	pg_stat_get_activity pg_stat_get_backend_activity pg_stat_statements pg_mcv_list_items
	get_raw_page heap_page_items heap_page_item_attrs tuple_data_split bt_page_items brin_page_items gin_leafpage_items
	pg_execute_server_program pg_buffercache_pages pgrowlocks`)

// samplers are the server's own ways of TABLESAMPLE.
var samplers = words(`bernoulli system`)
