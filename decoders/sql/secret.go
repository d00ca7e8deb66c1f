package sql

import "bytes"

// secretive says whether the body of a literal or comment looks like it holds
// a password or key: a word with "passw" in it, a private key, or a URI with a
// password.
func secretive(body []byte) bool {
	if len(body) < len("passw") {
		return false
	}
	return passworded(body, 'w') || passworded(body, 'W') || userinfo(body) ||
		bytes.Contains(body, []byte("PRIVATE KEY"))
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
	[]byte("identified"), []byte("dblink"), []byte("pgp_"), []byte("crypt"), []byte("hmac"),
}

// tellsSecret says whether a statement that uses this name may carry a
// password or key.
func tellsSecret(name []byte) bool {
	name = bytes.ToLower(name)
	for _, w := range secretWords {
		if bytes.Contains(name, w) {
			return true
		}
	}
	return false
}
