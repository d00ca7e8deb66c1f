package patterns

import (
	"bytes"

	"agentd.dev/decoders"
)

// A token is a key that begins in a way of its own.
type token struct {
	prefix string
	body   uint8 // class of the bytes behind it
	min    int   // how many those are
}

// joint tokens have a dash or an underscore in their prefixes, and are found by
// the first of them.
var jointTokens = []token{
	{"ghp_", alnum, 36},
	{"gho_", alnum, 36},
	{"ghu_", alnum, 36},
	{"ghs_", alnum, 36},
	{"ghr_", alnum, 36}, // GitHub
	{"github_pat_", urlsafe, 36},
	{"glpat-", urlsafe, 20}, // GitLab
	{"xoxa-", urlsafe, 10},
	{"xoxb-", urlsafe, 10},
	{"xoxe-", urlsafe, 10},
	{"xoxp-", urlsafe, 10},
	{"xoxr-", urlsafe, 10},
	{"xoxs-", urlsafe, 10}, // Slack
	{"sk_live_", alnum, 16},
	{"rk_live_", alnum, 16},
	{"sk_test_", alnum, 16},
	{"rk_test_", alnum, 16}, // Stripe
	{"sk-ant-", urlsafe, 24},
	{"sk-proj-", urlsafe, 24},
	{"sk-", alnum, 40}, // Anthropic, OpenAI
	{"npm_", alnum, 36},
	{"pypi-", urlsafe, 50},
	{"dop_v1_", alnum, 64},
	{"shpat_", alnum, 32},
}

// plainTokens are found by their whole prefix.
var plainTokens = []token{
	{"AKIA", upper | digit, 16}, {"ASIA", upper | digit, 16}, // AWS
	{"AIza", urlsafe, 35}, // Google
}

// before are the bytes in front of the first joint of jointTokens, and dashes
// of PEM.
var before = func() (table [256]bool) {
	for _, t := range jointTokens {
		table[t.prefix[firstJoint(t.prefix)-1]] = true
	}
	return table
}()

func firstJoint(prefix string) int {
	for i := range len(prefix) {
		if prefix[i] == '-' || prefix[i] == '_' {
			return i
		}
	}
	return 0
}

// keys finds keys by how they begin.
func keys(dst []decoders.Span, text []byte, kind int) []decoders.Span {
	base := len(dst)
	for i := range plainTokens {
		t := &plainTokens[i]
		for at := 0; ; {
			n := bytes.Index(text[at:], []byte(t.prefix))
			if n < 0 {
				break
			}
			at += n
			if to := t.end(text, at); to > 0 && !is(text, at-1, alnum) {
				dst = append(dst, decoders.Span{From: at, To: to, Kind: kind})
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

// end returns where the token ends that begins at text[at], 0 if it is none.
func (t *token) end(text []byte, at int) int {
	i := at + len(t.prefix)
	from := i
	for is(text, i, t.body) {
		i++
	}
	if i-from < t.min {
		return 0
	}
	return i
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
		case at > 0 && before[text[at-1]]:
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
	for i := range jointTokens {
		t := &jointTokens[i]
		from := at - firstJoint(t.prefix)
		if from < 0 || !bytes.HasPrefix(text[from:], []byte(t.prefix)) || is(text, from-1, alnum) {
			continue
		}
		if to := t.end(text, from); to > 0 {
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
