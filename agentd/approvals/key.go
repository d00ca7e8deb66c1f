package approvals

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"

	"agentd.dev/policy"
)

// A key is all that a grant is bound to. Two questions with the same key ask
// for the same.
type key [sha256.Size]byte

// keyOf returns what q asks for. The rule's terms are in it: when they change,
// what was decided under the old ones holds no longer.
func keyOf(q *Question) key {
	h := sha256.New()
	h.Write(q.Digest[:])
	t := &q.Session.Target
	words(h, identityOf(&q.Session.Identity)...)
	words(h, t.Name, t.Address.String(), t.Protocol, q.User, q.Database)
	words(h, q.Terms.Rule, strconv.Itoa(q.Terms.Need), q.Terms.For.String())
	words(h, q.Terms.By...)
	return key(h.Sum(nil))
}

// identityOf is a workload as grants know it: what stays the same when its
// process, container or pod is started anew, and what no other workload can
// have (docs/decisions/0023-approvals.md).
func identityOf(id *policy.Identity) []string {
	switch name := []string{id.Workload, id.Source}; {
	case id.PodUID != "" && id.Owner != "" && id.ServiceAccount != "":
		return append(name, "owner", id.Namespace, id.Owner, id.ServiceAccount, id.Container, id.Image)
	case id.PodUID != "":
		// Nothing that would make it anew, or the API server was not heard
		// yet: this pod and no other.
		return append(name, "pod", id.Namespace, id.PodUID, id.Container, id.Image)
	case id.ContainerID != "":
		return append(name, "container", id.ContainerID)
	case id.Cgroup == "": // it was gone when it was looked up
		return append(name, "gone", strconv.FormatUint(id.CgroupID, 10))
	default:
		// Only root and the service manager make cgroups at a path, but for
		// what is delegated to a user; hence the user, too.
		return append(name, "cgroup", id.Cgroup, uid(id.Process.UID))
	}
}

// words adds texts to h so that no other texts give the same.
func words(h hash.Hash, texts ...string) {
	var n [8]byte
	count := func(i int) {
		binary.BigEndian.PutUint64(n[:], uint64(i))
		h.Write(n[:])
	}
	count(len(texts))
	for _, s := range texts {
		count(len(s))
		h.Write([]byte(s))
	}
}

// Shown returns the digest of what people are shown of r: who asks, what,
// where, and under which terms.
func Shown(r *Request) string {
	h := sha256.New()
	w := &r.Workload
	words(h, r.ID, r.Rule, r.Message, strconv.Itoa(r.Need), r.For.String(), r.Session, r.Target, r.Address, r.Protocol, r.User, r.Database)
	words(h, r.By...)
	words(h, w.Name, w.Source, w.Cgroup, w.Unit, w.Namespace, w.Pod, w.ServiceAccount, w.Owner, w.Container, w.Image, uid(w.UID), w.Comm, w.Exe)
	words(h, r.Statement)
	words(h, r.Parameters...)
	words(h, strings.Join(r.Verbs, ","))
	words(h, r.Tables...)
	for _, key := range slices.Sorted(maps.Keys(r.Claims)) {
		words(h, key, r.Claims[key])
	}
	return hex.EncodeToString(h.Sum(nil))
}
