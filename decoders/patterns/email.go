package patterns

import (
	"bytes"

	"agentd.dev/decoders"
)

const (
	maxLocal  = 64  // bytes before the @ (RFC 5321)
	maxDomain = 255 // and behind it
)

// emails finds addresses by their @. A part in front of it that is longer than
// an address may have is found from where it could begin.
func emails(dst []decoders.Span, text []byte, kind int) []decoders.Span {
	end := 0 // of the one before
	for at := 0; ; at++ {
		i := bytes.IndexByte(text[at:], '@')
		if i < 0 {
			return dst
		}
		at += i
		from := localStart(text, at)
		if from == at {
			continue
		}
		if to := domainEnd(text, at+1); to > 0 {
			dst = append(dst, decoders.Span{From: max(from, end), To: to, Kind: kind})
			at, end = to-1, to
		}
	}
}

// localStart returns where the part before text[at] begins, at if there is
// none.
func localStart(text []byte, at int) int {
	from := at
	for from > 0 && at-from < maxLocal && class[text[from-1]]&mailbox != 0 {
		from--
	}
	// What joins words in front of the first letter belongs to the text
	// around it, as the = of user=ada@example.com would if it came first.
	for from < at && class[text[from]]&(alnum|beyond) == 0 && text[from] != '_' && text[from] != '+' {
		from++
	}
	return from
}

// domainEnd returns where the domain ends that begins at text[i], 0 if there
// is none: labels of letters, digits and dashes, and a last one that is not all
// digits.
func domainEnd(text []byte, i int) (to int) {
	from := i
	for dots := 0; i-from <= maxDomain; dots++ {
		label := i
		named := 0 // letters of the label
		for is(text, i, alnum|beyond) || i > label && joined(text, i, "-") {
			if class[text[i]]&digit == 0 {
				named++
			}
			i++
		}
		for i > label && text[i-1] == '-' {
			i--
		}
		if i == label {
			break
		}
		if dots > 0 && named >= 2 {
			to = i
		}
		if !joined(text, i, ".") {
			break
		}
		i++
	}
	return to
}
