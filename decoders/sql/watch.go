package sql

import (
	"bytes"

	"agentd.dev/decoders"
)

// A watch is the names that statements are watched for.
type watch struct {
	tables, columns map[string]bool
	any             bool // some name is watched
	high            bool // some name is not ASCII
}

func newWatch(names []decoders.ColumnName) *watch {
	w := &watch{tables: map[string]bool{}, columns: map[string]bool{}, any: len(names) > 0}
	for _, n := range names {
		w.tables[cut(n.Table)] = true
		w.columns[cut(n.Column)] = true
		w.high = w.high || highByte([]byte(n.Table)) || highByte([]byte(n.Column))
	}
	return w
}

func cut(name string) string { return name[:min(len(name), maxName)] }

func highByte(b []byte) bool {
	return bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x80 })
}

// see notes in f whether t is a watched name, and whether it tells a secret.
func (w *watch) see(t token, f *Facts) {
	f.Secret = f.Secret || tellsSecret(t.text)
	if !w.any {
		return
	}
	// How names beyond ASCII fold, and what U& escapes mean, depends on
	// the server: they may be any name.
	name := folded(t)
	unsure := t.kind == unicode || w.high && highByte(name)
	f.table = f.table || unsure || w.tables["*"] || w.tables[string(name)]
	f.column = f.column || unsure || w.columns["*"] || w.columns[string(name)]
}
