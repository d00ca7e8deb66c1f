package control

import (
	"net/http"
	"os/user"
	"strconv"

	"agentd.dev/agentd/approvals"
)

// Person returns the user whom a peer acts for: whoever has logged in to become,
// as by sudo, the user that it runs as; that one if nobody has.
func (p Peer) Person() uint32 {
	if p.of != nil && p.of.login != nil {
		return *p.of.login
	}
	return p.UID
}

// voter returns a peer as one who decides. Captured names the captured workload
// that a cgroup, by its directory, is in, "" for none.
//
// It fails closed: whose process is not known does not decide. Names of users
// and groups are those of /etc/passwd and /etc/group where agentd runs.
func (p Peer) voter(captured func(cgroup string) string) (approvals.Voter, error) {
	if p.of == nil || p.of.err != nil {
		err := &Error{Code: http.StatusForbidden, Message: "agentd does not know who you are"}
		if p.of != nil {
			err.Message += ": " + p.of.err.Error()
		}
		return approvals.Voter{}, err
	}
	person := p.Person()
	v := approvals.Voter{UID: &person, As: p.UID, Via: "socket", Captured: captured(p.of.cgroup)}
	account, _ := user.LookupId(strconv.FormatUint(uint64(person), 10)) // nil: a user without a name
	if account != nil {
		v.Name = account.Username
	}
	v.Groups = p.groups(person, account)
	return v, nil
}

// groups names the groups that a person is in: as the kernel says, if the
// process has the person's ids, else as the account does.
func (p Peer) groups(person uint32, account *user.User) (names []string) {
	var ids []string
	switch {
	case person == p.UID:
		seen := map[uint32]bool{}
		for _, id := range append([]uint32{p.GID}, p.of.groups...) {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, strconv.FormatUint(uint64(id), 10))
			}
		}
	case account != nil:
		ids, _ = account.GroupIds() // none: in no group
	}
	for _, id := range ids {
		if g, err := user.LookupGroupId(id); err == nil {
			names = append(names, g.Name)
		}
	}
	return names
}
