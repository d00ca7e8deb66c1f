package postgres

import (
	"bytes"
	"strings"

	"agentd.dev/decoders/sql"
)

// replicationCommands are what a replication connection takes beside SQL
// (protocol.sgml, "Streaming Replication Protocol"; repl_gram.y). What they
// bring is not looked into.
var replicationCommands = commands(
	"identify_system", "read_replication_slot", "create_replication_slot", "alter_replication_slot",
	"drop_replication_slot", "start_replication", "timeline_history", "base_backup", "upload_manifest",
)

func commands(names ...string) map[string]*sql.Facts {
	all := make(map[string]*sql.Facts, len(names))
	for _, name := range names {
		all[name] = sql.Command(name)
	}
	return all
}

// replicates returns the facts of a replication command, nil if text is none.
// The server's own lexer decides by the first word, too, and takes one command
// a message.
func replicates(text []byte) *sql.Facts {
	text = bytes.TrimLeft(text, " \t\n\r\f\v")
	end := bytes.IndexFunc(text, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') })
	if end < 0 {
		end = len(text)
	}
	const longest = 32
	if end > longest {
		return nil
	}
	return replicationCommands[strings.ToLower(string(text[:end]))]
}
