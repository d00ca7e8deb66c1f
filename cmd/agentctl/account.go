package main

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// An account is a user to run a program as.
type account struct {
	name, home string
	credential *syscall.Credential
}

// findAccount finds a user by name or uid. A uid needs no account.
func findAccount(who string) (*account, error) {
	u, err := user.Lookup(who)
	if err != nil {
		uid, e := strconv.ParseUint(who, 10, 32)
		if e != nil || uid == 1<<32-1 { // -1 means no change to setuid
			return nil, fmt.Errorf("there is no user %q: give a name or a uid with --user", who)
		}
		u, err = user.LookupId(who)
		var unknown user.UnknownUserIdError
		if errors.As(err, &unknown) {
			id := uint32(uid)
			return &account{name: who, home: "/", credential: &syscall.Credential{Uid: id, Gid: id}}, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look up user %s: %w", who, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("look up the groups of %s: %w", who, err)
	}
	ids, err := parseIDs(append([]string{u.Uid, u.Gid}, groups...))
	if err != nil {
		return nil, fmt.Errorf("look up user %s: %w", who, err)
	}
	return &account{name: u.Username, home: u.HomeDir, credential: &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}}, nil
}

func parseIDs(texts []string) ([]uint32, error) {
	ids := make([]uint32, len(texts))
	for i, text := range texts {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		ids[i] = uint32(id)
	}
	return ids, nil
}

// environ returns env with what says whose it is changed to u's.
func (u *account) environ(env []string) []string {
	own := []string{"HOME=" + u.home, "USER=" + u.name, "LOGNAME=" + u.name}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(own, func(o string) bool { return strings.HasPrefix(o, name+"=") })
	})
	return append(env, own...)
}
