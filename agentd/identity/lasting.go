package identity

import (
	"regexp"
	"strings"

	"agentd.dev/policy"
)

// Lasting is what counters call a workload: the same when its process, container or
// pod is started anew, and when what made its pod is rolled out anew. Who can
// choose another name for it could begin to count anew: names of pods do not
// matter, namespaces and service accounts do
// (docs/decisions/0025-webhooks-callback-counters-drift.md).
func Lasting(id *policy.Identity) string {
	if id.Namespace == "" {
		return id.Source + "/" + id.Workload
	}
	owner := lastingOwner(id)
	if owner == "" {
		owner = "Pod/" + id.Pod
	}
	return strings.Join([]string{"pod", id.Namespace, owner, id.ServiceAccount, id.Container}, "/")
}

// ofTime is what a CronJob's Job has at the end of its name.
var ofTime = regexp.MustCompile(`^Job/(.+)-[0-9]{8,}$`)

// lastingOwner is who made a pod, without what is another at each rollout.
func lastingOwner(id *policy.Identity) string {
	if hash := id.Labels["pod-template-hash"]; hash != "" && strings.HasPrefix(id.Owner, "ReplicaSet/") {
		return strings.TrimSuffix(id.Owner, "-"+hash)
	}
	if m := ofTime.FindStringSubmatch(id.Owner); m != nil {
		return "Job/" + m[1]
	}
	return id.Owner
}
