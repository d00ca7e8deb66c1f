package walk

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// copyStmt reads COPY. What is copied out is its result as well as moved.
func (w *walker) copyStmt(s *pg.CopyStmt, outer *scope) *shape {
	w.verb("copy")
	switch {
	case s.IsProgram:
		w.st.Copy = "program"
		w.st.Opaque = true
	case s.Filename != "" || !standard(w.text):
		w.st.Copy = "file"
	case s.IsFrom:
		w.st.Copy = "stdin"
	default:
		w.st.Copy = "stdout"
	}
	names := stringsOf(s.Attlist)
	if s.IsFrom {
		w.table(s.Relation, true)
		if s.Relation != nil {
			w.inserts(sql.Ref{Schema: schemaOf(s.Relation), Table: s.Relation.Relname}, names, nil)
			w.decides(w.expr(s.WhereClause, inside(outer, w.base(s.Relation))))
		}
		return nil
	}
	var result *shape
	switch {
	case s.Query != nil:
		result = w.query(s.Query, outer)
	case len(names) > 0:
		w.table(s.Relation, false)
		result = new(shape)
		for _, name := range names {
			result.add(column{name, true, w.use(w.ofTable(s.Relation, name))})
		}
	default:
		w.table(s.Relation, false)
		result = w.base(s.Relation).shape
		w.use(result.all(w))
	}
	w.sent(result)
	return result
}

// sent notes that a result leaves the database.
func (w *walker) sent(result *shape) {
	if result.open {
		w.moved(sql.Ref{}, result.all(w))
		return
	}
	for _, c := range result.columns {
		w.moved(sql.Ref{}, c.value)
	}
}

// ofTable is a column of a relation, as it stands.
func (w *walker) ofTable(rv *pg.RangeVar, name string) value {
	ref := sql.Ref{Schema: schemaOf(rv), Table: rv.GetRelname(), Column: name}
	return value{of: w.column(ref), plain: true}
}

// standard says whether a COPY names STDIN or STDOUT. The tree does not tell
// that from a file whose name is empty, as all of them are here. TO and FROM
// are reserved: the first of them outside of parentheses is COPY's.
func standard(text string) bool {
	depth := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"' || c == '\'':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				return false
			}
			i += end + 2
		case c == '(':
			depth++
			i++
		case c == ')':
			depth--
			i++
		case letter(c):
			word := text[i : i+wordLen(text[i:])]
			i += len(word)
			if depth > 0 || !strings.EqualFold(word, "to") && !strings.EqualFold(word, "from") {
				continue
			}
			rest := strings.TrimLeft(text[i:], " \t\r\n\f\v")
			word = rest[:wordLen(rest)]
			return strings.EqualFold(word, "stdin") || strings.EqualFold(word, "stdout")
		default:
			i++
		}
	}
	return false
}

func letter(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 || c == '_' || c == '$' || c >= '0' && c <= '9'
}

func wordLen(s string) int {
	n := 0
	for n < len(s) && letter(s[n]) {
		n++
	}
	return n
}
