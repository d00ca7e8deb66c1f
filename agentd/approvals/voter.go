package approvals

import (
	"slices"
	"strconv"
	"strings"
)

// A Voter is who decides, as far as it was verified by what brought the vote.
type Voter struct {
	// Of somebody on this node:
	UID  *uint32 // of the person; nil for somebody elsewhere
	Name string  // the user's name, "" if it is not known
	As   uint32  // the user whom the person has become, as root by sudo
	// Captured is the captured workload that the voter's process is in, "" if
	// it is in none.
	Captured string

	// Of somebody elsewhere:
	Subject string // as the issuer of a token calls them
	Groups  []string
	Via     string // how the vote came: "socket", "callback"
}

// String says who it is, to people. It differs between different people.
func (v *Voter) String() string {
	switch {
	case v.UID == nil: // which may say anything
		return strings.Map(func(r rune) rune {
			if r == '\n' || unspeakable(r) {
				return '?'
			}
			return r
		}, v.Subject)
	case v.Name == "":
		return "uid " + uid(*v.UID)
	default:
		return v.Name + " (uid " + uid(*v.UID) + ")"
	}
}

// person is the same for two votes of the same person.
func (v *Voter) person() string {
	if v.UID != nil {
		return "uid " + uid(*v.UID)
	}
	return "subject " + v.Subject
}

// among reports whether v is one of those whom by names: groups by their name,
// people as "user:NAME". If by is empty everybody is.
func (v *Voter) among(by []string) bool {
	return len(by) == 0 || slices.ContainsFunc(by, func(who string) bool {
		if user, ok := strings.CutPrefix(who, "user:"); ok {
			return user != "" && (user == v.Name || user == v.Subject)
		}
		return slices.Contains(v.Groups, strings.TrimPrefix(who, "group:"))
	})
}

func uid(id uint32) string { return strconv.FormatUint(uint64(id), 10) }
