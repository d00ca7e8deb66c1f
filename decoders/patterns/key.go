package patterns

import (
	"bytes"

	"agentd.dev/decoders"
)

// A token is a key that begins in a way of its own. It is looked for by a part
// of its prefix that is rare in other texts.
type token struct {
	prefix string
	rare   int   // where that part begins: a dash or an underscore, or the rest
	body   uint8 // class of the bytes behind the prefix
	min    int   // how many those are
}

// jointTokens are looked for by the first dash or underscore in their prefix.
var jointTokens = []token{
	{"ghp_", 3, alnum, 36},
	{"gho_", 3, alnum, 36},
	{"ghu_", 3, alnum, 36},
	{"ghs_", 3, alnum, 36},
	{"ghr_", 3, alnum, 36}, // GitHub
	{"github_pat_", 6, urlsafe, 36},
	{"glpat-", 5, urlsafe, 20}, // GitLab
	{"xoxa-", 4, urlsafe, 10},
	{"xoxb-", 4, urlsafe, 10},
	{"xoxe-", 4, urlsafe, 10}, // Slack
	{"xoxp-", 4, urlsafe, 10},
	{"xoxr-", 4, urlsafe, 10},
	{"xoxs-", 4, urlsafe, 10},
	{"sk_live_", 2, alnum, 16},
	{"rk_live_", 2, alnum, 16},
	{"sk_test_", 2, alnum, 16},
	{"rk_test_", 2, alnum, 16}, // Stripe
	{"sk-ant-", 2, urlsafe, 24},
	{"sk-proj-", 2, urlsafe, 24},
	{"sk-", 2, alnum, 40}, // Anthropic, OpenAI
	{"npm_", 3, alnum, 36},
	{"pypi-", 4, urlsafe, 50},
	{"dop_v1_", 3, alnum, 64},
	{"shpat_", 5, alnum, 32},
}

// plainTokens are looked for by the end of their prefix.
var plainTokens = []token{
	{"AKIA", 1, upper | digit, 16}, {"ASIA", 1, upper | digit, 16}, // AWS
	{"AIza", 2, urlsafe, 35}, // Google
}

// before are the jointTokens by the byte in front of the joint.
var before = func() (table [256][]*token) {
	for i := range jointTokens {
		t := &jointTokens[i]
		c := t.prefix[t.rare-1]
		table[c] = append(table[c], t)
	}
	return table
}()

// keys finds keys by how they begin.
func keys(dst []decoders.Span, text []byte, kind int) []decoders.Span {
	base := len(dst)
	for i := range plainTokens {
		t := &plainTokens[i]
		for at := 0; ; {
			n := bytes.Index(text[at:], []byte(t.prefix[t.rare:]))
			if n < 0 {
				break
			}
			at += n
			if from, to := t.at(text, at); to > 0 {
				dst = append(dst, decoders.Span{From: from, To: to, Kind: kind})
				at = to
				continue
			}
			at++
		}
	}
	dst = assigned(dst, text, kind)
	dst = jointed(dst, text, kind, '_')
	dst = jointed(dst, text, kind, '-')
	if len(dst) > base+1 {
		dst = dst[:base+len(disjoint(dst[base:]))]
	}
	return dst
}

// at returns the token of which the rare part is at text[at]; to is 0 if there
// is none.
func (t *token) at(text []byte, at int) (from, to int) {
	from = at - t.rare
	if from < 0 || !bytes.HasPrefix(text[from:], []byte(t.prefix)) || is(text, from-1, alnum) {
		return 0, 0
	}
	body := from + len(t.prefix)
	for to = body; is(text, to, t.body); {
		to++
	}
	if to-body < t.min {
		return 0, 0
	}
	return from, to
}

// jointed finds what has that joint in its prefix.
func jointed(dst []decoders.Span, text []byte, kind int, joint byte) []decoders.Span {
	for at := 0; ; {
		n := bytes.IndexByte(text[at:], joint)
		if n < 0 {
			return dst
		}
		at += n
		run := at
		for run < len(text) && text[run] == joint {
			run++
		}
		from, to := 0, 0
		switch {
		case at > 0 && len(before[text[at-1]]) > 0:
			from, to = tokenAt(text, at)
		case joint == '-' && run-at >= 5:
			from, to = pem(text, run)
		}
		if to > 0 {
			dst = append(dst, decoders.Span{From: from, To: to, Kind: kind})
			run = max(run, to)
		}
		at = run
	}
}

// tokenAt finds the token that has its first joint at text[at].
func tokenAt(text []byte, at int) (from, to int) {
	for _, t := range before[text[at-1]] {
		if from, to := t.at(text, at); to > 0 {
			return from, to
		}
	}
	return 0, 0
}

// pem finds a private key of which the opening dashes end at text[at]: up to
// its last dashes, or to the end.
func pem(text []byte, at int) (from, to int) {
	label, ok := bytes.CutPrefix(text[at:], []byte("BEGIN "))
	if !ok {
		return 0, 0
	}
	label = label[:min(len(label), 64)]
	n := bytes.Index(label, []byte("-----"))
	if n < 0 || !bytes.Contains(label[:n], []byte("PRIVATE KEY")) {
		return 0, 0
	}
	from = at - 5
	end := bytes.Index(text[at:], []byte("-----END "))
	if end < 0 {
		return from, len(text)
	}
	end += at + len("-----END ")
	if n = bytes.Index(text[end:min(len(text), end+64)], []byte("-----")); n < 0 {
		return from, len(text)
	}
	return from, end + n + 5
}

// assigned finds what connection strings of Azure say: AccountKey= and
// SharedAccessKey=, and a key in base64.
func assigned(dst []decoders.Span, text []byte, kind int) []decoders.Span {
	for at := 0; ; {
		n := bytes.Index(text[at:], []byte("Key="))
		if n < 0 {
			return dst
		}
		word := text[at : at+n]
		at += n + len("Key=")
		if !bytes.HasSuffix(word, []byte("Account")) && !bytes.HasSuffix(word, []byte("SharedAccess")) {
			continue
		}
		to := at
		for is(text, to, alnum) || joined(text, to, "+/") {
			to++
		}
		if to-at < 40 {
			continue
		}
		for joined(text, to, "=") {
			to++
		}
		dst = append(dst, decoders.Span{From: at, To: to, Kind: kind})
		at = to
	}
}
