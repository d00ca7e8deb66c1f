package selection

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"unicode/utf8"

	"agentd.dev/agentd/capture"
)

// name is what a selected workload is called, and what gave it that name: the
// rule, or else the pod (as namespace/name), the container, the unit or the
// cgroup itself. The source tells what the name would have been.
func name(rule *Rule, s *Subject) (name, source string) {
	switch {
	case s.Pod != nil:
		name, source = s.Pod.Namespace+"/"+s.Pod.Name, "pod"
	case s.Container != nil && s.Container.Pod.Name != "":
		name, source = s.Container.Pod.Namespace+"/"+s.Container.Pod.Name, "pod"
	case s.Container != nil && s.Container.Name != "":
		name, source = s.Container.Name, "container"
	case len(rule.Unit) > 0:
		name, source = path.Base(s.Cgroup), "unit"
	default:
		name, source = strings.TrimPrefix(s.Cgroup, "/"), "cgroup"
	}
	if rule.Name != "" {
		name = rule.Name
	}
	return Short(name), source
}

// Short is a name as long as names of workloads may be. A longer one is cut,
// and ends with a hash of the whole, so that two do not become one.
func Short(name string) string {
	if len(name) <= capture.MaxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	end := "~" + hex.EncodeToString(sum[:4])
	cut := capture.MaxName - len(end)
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + end
}
