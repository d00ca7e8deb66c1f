package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/policy"
)

// maxPaths is how many cgroups are remembered. Each is a path of perhaps a
// hundred bytes.
const maxPaths = 4096

// Cgroup knows the paths of cgroups and the systemd units they belong to. Its
// zero value is ready to use, by several goroutines at once.
type Cgroup struct {
	mu        sync.Mutex // guards what is below
	hierarchy string
	paths     map[uint64]string
}

// Identify sets CgroupID, Cgroup and Unit. A cgroup that is gone has only its
// id, unless it was seen before.
func (c *Cgroup) Identify(_ context.Context, peer Peer, id *policy.Identity) error {
	if peer.Cgroup == 0 {
		return nil
	}
	id.CgroupID = peer.Cgroup
	name, err := c.path(peer.Cgroup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the cgroup of pid %d: %w", peer.TGID, err)
	}
	id.Cgroup, id.Unit = name, unit(name)
	return nil
}

// path returns the path of a cgroup below the root of the hierarchy. Ids are
// never used twice and systemd renames nothing, so what was found stays true.
func (c *Cgroup) path(id uint64) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.paths[id]; ok {
		return p, nil
	}
	if c.hierarchy == "" {
		hierarchy, err := cgroup.Hierarchy()
		if err != nil {
			return "", err
		}
		c.hierarchy = hierarchy
	}
	dir, err := cgroup.Dir(c.hierarchy, id)
	if err != nil {
		return "", err
	}
	p := path.Join("/", strings.TrimPrefix(dir, c.hierarchy))
	if c.paths == nil || len(c.paths) >= maxPaths {
		c.paths = map[uint64]string{}
	}
	c.paths[id] = p
	return p, nil
}

// unit returns the systemd unit that a cgroup belongs to: the innermost
// service or scope of its path, since units keep cgroups of their own below.
func unit(name string) string {
	for ; name != "/" && name != "."; name = path.Dir(name) {
		if base := path.Base(name); strings.HasSuffix(base, ".service") || strings.HasSuffix(base, ".scope") {
			return base
		}
	}
	return ""
}
