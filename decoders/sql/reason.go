package sql

// A reason says why a text was not understood.
type reason uint8

const (
	understood reason = iota
	hasNUL
	strayByte
	openString
	openIdentifier
	openComment
	numberJunk
	foreignName
	unbalanced
	tooLong
	tooComplex
	tooDeep
	noVerb
	openBody
	escapedName
	ambiguous
)

// reasons is what people read, and whether a text of which it is true is sure
// to be rejected by the server as a whole.
var reasons = [...]struct {
	text     string
	rejected bool
}{
	understood:     {"", false},
	hasNUL:         {"a NUL byte", false},
	strayByte:      {"a character that SQL has no use for", true},
	openString:     {"a string that does not end", true},
	openIdentifier: {"a quoted identifier that does not end", true},
	openComment:    {"a comment that does not end", true},
	numberJunk:     {"a number that runs into a word", false},
	foreignName:    {"an identifier that is not UTF-8", false},
	unbalanced:     {"parentheses that do not match", true},
	tooLong:        {"longer than can be analyzed", false},
	tooComplex:     {"more tokens than can be analyzed", false},
	tooDeep:        {"nested deeper than can be analyzed", false},
	noVerb:         {"a statement that starts with no known verb", false},
	openBody:       {"a function body that does not end", false},
	escapedName:    {`a name written as U&""`, false},
	ambiguous:      {"its meaning depends on standard_conforming_strings or client_encoding", false},
}
