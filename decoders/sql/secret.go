package sql

import "bytes"

// secretive says whether the body of a literal or comment looks like it holds
// a password or key: a word with "passw" in it, a private key, a URI with a
// password, what only tokens begin with, or the name of a secret with something
// given to it, or alone, as functions are told which setting to set.
func secretive(body []byte) bool {
	if len(body) < len("token") {
		return false
	}
	return passworded(body, 'w') || passworded(body, 'W') || userinfo(body) ||
		bytes.Contains(body, []byte("PRIVATE KEY")) || tokenlike(body) || assigned(body)
}

// tokenStarts are what tokens begin with of those who give them a beginning to
// be known by, and verifiers of passwords.
var tokenStarts = [][]byte{
	[]byte("eyJ"), []byte("ghp_"), []byte("gho_"), []byte("ghs_"), []byte("github_pat_"), []byte("glpat-"),
	[]byte("sk-"), []byte("sk_live_"), []byte("xoxb-"), []byte("xoxp-"), []byte("AKIA"), []byte("ASIA"),
	[]byte("AIza"), []byte("hvs."), []byte("Bearer "), []byte("Basic "), []byte("SCRAM-SHA-256$"),
}

func tokenlike(body []byte) bool {
	for _, start := range tokenStarts {
		if body[0] == start[0] && bytes.HasPrefix(body, start) {
			return len(body) >= 20
		}
	}
	return false
}

// assigned looks for the name of a secret before each = and :, and at the end:
// token=, "api_key": and Authorization: are such, and so is 'app.api_key' alone.
func assigned(body []byte) bool {
	if endsSecret(body) {
		return true
	}
	for _, sign := range []byte("=:") {
		for from := 0; ; {
			i := bytes.IndexByte(body[from:], sign)
			if i < 0 {
				break
			}
			if endsSecret(body[:from+i]) {
				return true
			}
			from += i + 1
		}
	}
	return false
}

// secretEnds are how names of secrets end.
var secretEnds = []string{
	"token", "secret", "api_key", "api-key", "apikey", "access_key", "secret_key", "private_key", "signing_key",
	"encryption_key", "passcode", "passphrase", "pwd", "credential", "credentials", "authorization",
}

// endsSecret says whether text, but for quotes and spaces, ends with one.
func endsSecret(text []byte) bool {
	for len(text) > 0 && (text[len(text)-1] == '"' || text[len(text)-1] == '\'' || text[len(text)-1] == ' ' || text[len(text)-1] == '\\') {
		text = text[:len(text)-1]
	}
	if len(text) == 0 || lastLetters[text[len(text)-1]|0x20] == 0 {
		return false
	}
	for _, end := range secretEnds {
		if n := len(text) - len(end); n >= 0 && sameLetters(text[n:], end) {
			return true
		}
	}
	return false
}

// lastLetters are those that secretEnds end with.
var lastLetters = [256]byte{'n': 1, 't': 1, 'y': 1, 'e': 1, 'd': 1, 'l': 1, 's': 1}

// sameLetters compares in any case; lower is lower case and as long as b, and may have
// signs in it.
func sameLetters(b []byte, lower string) bool {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// passworded looks for "pass", in any case, before each w.
func passworded(body []byte, w byte) bool {
	for from := 0; ; {
		i := bytes.IndexByte(body[from:], w)
		if i < 0 {
			return false
		}
		from += i + 1
		if from >= 5 && foldedEqual(body[from-5:from-1], "pass") {
			return true
		}
	}
}

// foldedEqual compares in any case; lower is lower case and as long as b.
func foldedEqual(b []byte, lower string) bool {
	for i, c := range b {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// userinfo looks for scheme://user:password@host.
func userinfo(body []byte) bool {
	for {
		i := bytes.Index(body, []byte("://"))
		if i < 0 {
			return false
		}
		body = body[i+3:]
		colon := false
		for _, c := range body {
			if c == '@' && colon {
				return true
			}
			if c == '/' || classes[c] == space {
				break
			}
			colon = colon || c == ':'
		}
	}
}

// secretWords are parts of names that are given to passwords and keys, and of
// functions that take them. A literal near one is not recorded.
var secretWords = [][]byte{
	[]byte("passw"), []byte("passphrase"), []byte("secret"), []byte("credential"),
	[]byte("api_key"), []byte("apikey"), []byte("private_key"), []byte("access_key"),
	[]byte("access_token"), []byte("auth_token"), []byte("refresh_token"), []byte("api_token"),
	[]byte("signing_key"), []byte("encryption_key"), []byte("passcode"),
	[]byte("umoptions"), []byte("srvoptions"), []byte("fdwoptions"), []byte("conninfo"), []byte("pg_user_mapping"),
	[]byte("identified"), []byte("dblink"), []byte("pgp_"), []byte("crypt"), []byte("hmac"),
}

// tellsSecret says whether a statement that uses this name may carry a
// password or key. Counts of tokens, as models are paid by, are none.
func tellsSecret(name []byte) bool {
	var buf [2 * maxName]byte // names are cut there by the server
	name = lowered(buf[:0], name[:min(len(name), len(buf))])
	for _, w := range secretWords {
		if bytes.Contains(name, w) {
			return true
		}
	}
	return endsSecret(name) && !bytes.HasSuffix(name, []byte("authorization")) // SET SESSION AUTHORIZATION
}

// TellsSecret says whether a column or setting of this name is one for a
// password or key.
func TellsSecret(name []byte) bool { return tellsSecret(name) }

// lowered appends name to dst in lower case, as far as it is ASCII.
func lowered(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
