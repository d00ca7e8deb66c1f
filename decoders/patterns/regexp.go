package patterns

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"

	"agentd.dev/decoders"
)

const (
	// maxSearched is how long a text may be that a regular expression goes
	// over, in bytes; all of a longer one counts as found.
	maxSearched = 256 << 10
	// maxExpression bounds an expression.
	maxExpression = 1000
)

// Regexp returns the pattern of an expression in RE2's syntax. It takes many
// times longer to find than those that have a name.
func Regexp(name, expression string) (Pattern, error) {
	if len(expression) > maxExpression {
		return Pattern{}, fmt.Errorf("longer than %d bytes", maxExpression)
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		var wrong *syntax.Error
		if errors.As(err, &wrong) {
			return Pattern{}, fmt.Errorf("%s: %q; write it in RE2's syntax", wrong.Code, wrong.Expr)
		}
		return Pattern{}, err
	}
	if re.MatchString("") {
		return Pattern{}, errors.New("it matches nothing at all, and so everywhere: ask for at least one character")
	}
	return Pattern{Name: name, find: func(dst []decoders.Span, text []byte, kind int) []decoders.Span {
		if len(text) > maxSearched {
			return append(dst, decoders.Span{From: 0, To: len(text), Kind: kind})
		}
		for _, at := range re.FindAllIndex(text, -1) {
			if at[0] < at[1] {
				dst = append(dst, decoders.Span{From: at[0], To: at[1], Kind: kind})
			}
		}
		return dst
	}}, nil
}
