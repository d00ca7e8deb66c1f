package grammar

import "agentd.dev/decoders/sql"

// What of a text is sent to a worker. The grammar's trees are as deep as their
// texts; twice as deep, and they could not be handed from C to Go.
const (
	maxText  = 256 << 10 // bytes
	maxDepth = 4000      // parentheses, and operators one behind another
)

// A reason says why nothing is known of a text.
type reason uint8

const (
	admitted reason = iota
	tooLong
	tooDeep
	tooBusy
	tooSlow
	tooMuch
)

// unclear is the meaning of texts that come to nothing.
var unclear = [...]*sql.Meaning{
	tooLong: {Unclear: "longer than the grammar is asked about"},
	tooDeep: {Unclear: "nested deeper than the grammar can follow"},
	tooBusy: {Unclear: "agentd is too busy to look at statements that are new to it: try again"},
	tooSlow: {Unclear: "the grammar took too long over it"},
	tooMuch: {Unclear: "the grammar could not cope with it"},
}

// admit says whether a text is sent to a worker.
func admit(text string) reason {
	switch {
	case len(text) > maxText:
		return tooLong
	case deep(text):
		return tooDeep
	}
	return admitted
}

// deep estimates from above how deep the tree of a skeleton is: what is around
// it in parentheses, and whatever takes what is before it for its left side.
// AND and OR do not, nor does what a comma separates.
func deep(text string) bool {
	depth, chain := 0, 0
	for i := 0; i < len(text); {
		c := text[i]
		from := i
		i++
		switch {
		case c == '"':
			for i < len(text) && text[i] != '"' {
				i++
			}
			i++
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == ',' || c == ';':
			chain = 0
		case c == ':' || isOperator(c):
			chain++
			for i < len(text) && (text[i] == ':' || isOperator(text[i])) {
				i++
			}
		case isWord(c):
			for i < len(text) && isWord(text[i]) {
				i++
			}
			switch word := text[from:i]; {
			case word == "and" || word == "or":
				chain = 0
			case nesting[word]:
				chain++
			}
		}
		if depth+chain > maxDepth {
			return true
		}
	}
	return false
}

// nesting are the words that make a tree deeper, each time they come.
var nesting = map[string]bool{
	"union": true, "except": true, "intersect": true, "join": true, "not": true, "is": true, "isnull": true, "notnull": true,
	"collate": true, "at": true, "like": true, "ilike": true, "similar": true, "between": true, "in": true, "case": true,
	"operator": true, "explain": true, "prepare": true, "select": true,
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

func isOperator(c byte) bool {
	switch c {
	case '~', '!', '@', '#', '^', '&', '|', '`', '?', '+', '-', '*', '/', '%', '<', '>', '=':
		return true
	}
	return false
}
