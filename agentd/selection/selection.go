// Package selection decides which cgroups are captured: by where they are, and
// by what is known of the container and the pod that they belong to.
//
// It is pure: it looks at no file and asks no runtime. What is given to it
// twice is decided alike twice.
package selection

import (
	"path"
	"slices"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/pods"
)

// A Rule selects what meets all that it asks for; a zero field asks for
// nothing. Values are patterns of path.Match, and one of several is enough.
type Rule struct {
	Name        string // of what is selected; "" names each for itself
	Cgroup      []string
	Unit        []string
	Namespace   []string
	Labels      map[string]string // each must be there, with such a value
	Annotations map[string]string
	Container   []string
	Image       []string
	WhenDown    *capture.Down // nil: as the rest
	// Listed: an entry of capture.workloads, which is meant even where it
	// cannot be captured.
	Listed bool
}

// Rules are what is selected: whatever any of them selects. The first that
// does gives name and WhenDown.
type Rules struct {
	List     []Rule
	WhenDown capture.Down
	Strict   bool
	// Root is the path of the cgroup that capture is attached to, "" for the
	// top of the hierarchy. Units are looked for from there.
	Root string
	// PodRoots are where pods are, besides the usual places below Root.
	PodRoots []string
}

// A Subject is a cgroup to be decided on.
type Subject struct {
	Cgroup string // its path below the root of the hierarchy, as "/system.slice/agent.service"
	// Container is whose cgroup it is, nil if it is none's.
	Container *pods.Container
	// Pod is the pod whose cgroup, with all its containers below, it is.
	Pod *pods.Pod
}

// A State is how a cgroup is to stand.
type State uint8

const (
	Inherit  State = iota // as the nearest cgroup above that stands somehow
	Captured              // with all below it
	Free                  // not captured, with all below it
	Watched               // what is below it is unknown until it is decided on
)

func (s State) String() string { return [...]string{"inherits", "captured", "free", "watched"}[s] }

// A Verdict is what was decided on a subject.
type Verdict struct {
	State    State
	Name     string       // of a captured one, at most capture.MaxName bytes
	Source   string       // what gave it that name, or would have: pod, unit, cgroup
	WhenDown capture.Down // of a captured one, or of what is unknown below a watched one
	Strict   bool
	Listed   bool
}

// Decide decides on a subject by itself: what is above it stands as it does.
//
// A pod is decided on as a whole where no rule asks for its containers, so
// that containers which come later are captured from their first instruction;
// they then inherit. Where one does, each container is decided on, and the
// pod inherits.
func (r *Rules) Decide(s Subject) Verdict {
	switch {
	case s.Pod != nil:
		return r.pod(&s)
	case s.Container != nil && s.Container.Pod.UID != "":
		return r.contained(&s)
	}
	if v, ok := r.first(&s); ok {
		return v
	}
	if s.Container != nil {
		return Verdict{State: Free}
	}
	return r.around(s.Cgroup)
}

// pod decides on the cgroup of a whole pod.
func (r *Rules) pod(s *Subject) Verdict {
	inside := false // one of its containers, now or later, may be selected alone
	for i := range r.List {
		switch rule := &r.List[i]; {
		case !rule.ofPod(s.Pod):
		case rule.single():
			inside = true
		case r.at(rule, s.Cgroup):
			return r.captured(rule, s)
		case r.reaches(rule, s.Cgroup):
			inside = true
		}
	}
	if inside {
		return Verdict{State: Inherit}
	}
	return Verdict{State: Free}
}

// contained decides on the cgroup of one container of a pod.
func (r *Rules) contained(s *Subject) Verdict {
	for i := range r.List {
		switch rule := &r.List[i]; {
		case !rule.ofPod(&s.Container.Pod) || !rule.ofContainer(s.Container):
		case !rule.single() && r.at(rule, PodCgroup(s.Cgroup, s.Container.Pod.UID)):
			return Verdict{State: Inherit} // the pod is captured
		case r.at(rule, s.Cgroup):
			return r.captured(rule, s)
		}
	}
	return Verdict{State: Free}
}

// first finds the first rule that selects something that is no pod's.
func (r *Rules) first(s *Subject) (Verdict, bool) {
	for i := range r.List {
		rule := &r.List[i]
		if r.at(rule, s.Cgroup) && rule.ofLoose(s.Container) {
			return r.captured(rule, s), true
		}
	}
	return Verdict{}, false
}

func (r *Rules) captured(rule *Rule, s *Subject) Verdict {
	v := Verdict{State: Captured, WhenDown: r.WhenDown, Strict: r.Strict, Listed: rule.Listed}
	if rule.WhenDown != nil {
		v.WhenDown = *rule.WhenDown
	}
	v.Name, v.Source = name(rule, s)
	return v
}

// single reports whether a rule asks for single containers.
func (r *Rule) single() bool { return len(r.Container)+len(r.Image) > 0 }

// OfPods reports whether only pods, or their containers, can meet a rule.
func (r *Rule) OfPods() bool { return len(r.Namespace)+len(r.Labels)+len(r.Annotations) > 0 }

// located reports whether a rule asks for a place.
func (r *Rule) located() bool { return len(r.Cgroup)+len(r.Unit) > 0 }

// OfContainers reports whether a rule asks what only a runtime knows.
func (r *Rule) OfContainers() bool { return r.OfPods() || r.single() }

// ofPod reports whether a pod meets what a rule asks of pods.
func (r *Rule) ofPod(p *pods.Pod) bool {
	return oneOf(r.Namespace, p.Namespace) && each(r.Labels, p.Labels) && each(r.Annotations, p.Annotations)
}

// ofContainer reports whether a container meets what a rule asks of it.
func (r *Rule) ofContainer(c *pods.Container) bool {
	if c.Name == "" && r.single() {
		return false // a sandbox
	}
	return oneOf(r.Container, c.Name) && oneOf(r.Image, c.Image)
}

// ofLoose reports whether what belongs to no pod, or even to no container,
// meets a rule, whatever its place.
func (r *Rule) ofLoose(c *pods.Container) bool {
	if c == nil {
		return !r.OfContainers()
	}
	return !r.OfPods() && r.ofContainer(c)
}

// oneOf reports whether one of some patterns matches; none asks for nothing.
func oneOf(patterns []string, value string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return matches(p, value) })
}

// each reports whether every key is there, with a value that matches.
func each(patterns, values map[string]string) bool {
	for key, pattern := range patterns {
		if value, ok := values[key]; !ok || !matches(pattern, value) {
			return false
		}
	}
	return true
}

// matches is path.Match; a pattern that is none matches nothing.
func matches(pattern, value string) bool {
	ok, err := path.Match(pattern, value)
	return ok && err == nil
}
