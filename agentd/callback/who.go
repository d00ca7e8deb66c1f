package callback

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"agentd.dev/agentd/approvals"
)

var errWho = errors.New("nobody is known by this token")

// who returns whose token it is. How long it takes tells nothing of the tokens
// that there are: all are read and compared, by their hashes. It fails closed:
// a token that cannot be read, is short, or is that of two people, is nobody's.
func (s *Server) who(token string) (*Approver, error) {
	got := sha256.Sum256([]byte(token))
	var found *Approver
	n := 0
	for _, a := range s.Approvers() {
		text, err := a.Token()
		if err != nil {
			s.Log.Warn("the token of an approver cannot be read", "approver", a.Name, "error", err)
			text = ""
		}
		want := sha256.Sum256([]byte(text))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && len(text) >= MinToken {
			found = &a
			n++
		}
	}
	if n > 1 {
		s.Log.Error("approvers have the same token, and nobody can decide by it", "one", found.Name)
	}
	if n != 1 {
		return nil, errWho
	}
	return found, nil
}

// named returns the approver of a name.
func (s *Server) named(name string) (*Approver, error) {
	for _, a := range s.Approvers() {
		if a.Name == name {
			return &a, nil
		}
	}
	return nil, errWho
}

// voter returns an approver as the desk knows people. Somebody who has a user on
// this node is the same person here and there.
func (a *Approver) voter() approvals.Voter {
	v := approvals.Voter{UID: a.UID, Subject: a.Name, Groups: a.Groups, Via: "callback"}
	if a.UID != nil {
		v.Name, v.As = a.Name, *a.UID
	}
	return v
}

// bearer returns the token of a request, "" if it has none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
