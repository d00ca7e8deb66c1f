package postgres

import "strings"

// appendOptions appends the names of what the options of a StartupMessage set,
// which are command line switches of the server's (postgres.c,
// process_postgres_switches): -c NAME=VALUE and --NAME=VALUE. Any other switch,
// of which most set something, is "*".
func appendOptions(sets []string, options string) []string {
	words := splitOptions(options)
	for i := 0; i < len(words); i++ {
		setting, long := strings.CutPrefix(words[i], "--")
		if !long {
			var short bool
			if setting, short = strings.CutPrefix(words[i], "-c"); !short {
				return append(sets, "*")
			}
			if setting == "" && i+1 < len(words) {
				i++
				setting = words[i]
			}
		}
		name, _, ok := strings.Cut(setting, "=")
		if !ok || name == "" {
			return append(sets, "*")
		}
		sets = append(sets, strings.ToLower(strings.ReplaceAll(name, "-", "_")))
	}
	return sets
}

// splitOptions cuts options at white space, as pg_split_opts does: a backslash
// takes the next byte as it is.
func splitOptions(options string) (words []string) {
	var word []byte
	within := false
	for i := 0; i < len(options); i++ {
		switch c := options[i]; {
		case c == ' ' || '\t' <= c && c <= '\r':
			if within {
				words, word, within = append(words, string(word)), nil, false
			}
		case c == '\\' && i+1 < len(options):
			i++
			word, within = append(word, options[i]), true
		default:
			word, within = append(word, c), true
		}
	}
	if within {
		words = append(words, string(word))
	}
	return words
}
