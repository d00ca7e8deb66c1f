package selection

import (
	"path"
	"slices"
	"strings"

	"agentd.dev/agentd/capture"
)

// at reports whether a cgroup is where a rule asks for it.
func (r *Rules) at(rule *Rule, cgroup string) bool {
	if len(rule.Cgroup) > 0 && !slices.ContainsFunc(rule.Cgroup, func(pattern string) bool { return whole(pattern, cgroup) }) {
		return false
	}
	return len(rule.Unit) == 0 || r.isUnit(cgroup) && oneOf(rule.Unit, path.Base(cgroup))
}

// reaches reports whether a cgroup below this one may be where a rule asks
// for it.
func (r *Rules) reaches(rule *Rule, cgroup string) bool {
	if slices.ContainsFunc(rule.Cgroup, func(pattern string) bool { return front(pattern, cgroup) }) {
		return true
	}
	return len(rule.Cgroup) == 0 && len(rule.Unit) > 0 && r.HoldsUnits(cgroup)
}

// Leads reports whether a rule asks for places below a cgroup.
func (r *Rules) Leads(cgroup string) bool {
	return slices.ContainsFunc(r.List, func(rule Rule) bool { return r.reaches(&rule, cgroup) })
}

// around decides on a cgroup that no rule selects and that is no container's.
// What lies beside a place that a rule asks for is free, so that only what is
// new there is unknown; what lies on the way there is watched. Where only the
// runtime can tell, nothing is decided.
func (r *Rules) around(cgroup string) Verdict {
	state := Inherit
	for i := range r.List {
		rule := &r.List[i]
		if rule.located() && rule.OfContainers() && r.at(rule, cgroup) {
			return Verdict{State: Inherit}
		}
		for _, area := range r.areas(rule) {
			in := func(dir string) bool { return dir == area || below(area, dir) && r.reaches(rule, dir) }
			switch {
			case in(cgroup):
				return Verdict{State: Watched, WhenDown: r.down(cgroup)}
			case rule.located() && in(path.Dir(cgroup)):
				state = Free
			}
		}
	}
	return Verdict{State: state}
}

// Areas are the cgroups that may hold something to be selected: there, what
// is new is unknown until it is decided on.
func (r *Rules) Areas() []string {
	var all []string
	for i := range r.List {
		all = append(all, r.areas(&r.List[i])...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Kubernetes keeps the cgroups of its pods here, with either cgroup driver.
var podRoots = []string{"/kubepods", "/kubepods.slice"}

// unitRoot is where services are. Units that systemd keeps elsewhere are
// found, but not before they may have connected.
const unitRoot = "/system.slice"

// Tops are where a look at everything that rules ask for has to begin, besides
// at the areas.
func (r *Rules) Tops() []string {
	var all []string
	for i := range r.List {
		rule := &r.List[i]
		switch {
		case slices.ContainsFunc(rule.Cgroup, func(p string) bool { return Prefix(p) == "/" }):
			all = append(all, "/")
		case len(rule.Cgroup) == 0 && len(rule.Unit) > 0:
			all = append(all, path.Join("/", r.Root))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// areas are those of one rule. The top of the hierarchy is none: it holds
// everything.
func (r *Rules) areas(rule *Rule) []string {
	if len(rule.Cgroup) > 0 {
		var all []string
		for _, pattern := range rule.Cgroup {
			if dir := Prefix(pattern); dir != "/" {
				all = append(all, dir)
			}
		}
		return all
	}
	if len(rule.Unit) > 0 {
		return []string{r.Root + unitRoot}
	}
	all := slices.Clone(r.PodRoots)
	for _, root := range podRoots {
		all = append(all, r.Root+root)
	}
	return all
}

// down is what holds below a watched cgroup while agentd is away: refuse if
// any rule says so for what may appear there.
func (r *Rules) down(cgroup string) capture.Down {
	for i := range r.List {
		rule := &r.List[i]
		down := r.WhenDown
		if rule.WhenDown != nil {
			down = *rule.WhenDown
		}
		near := func(area string) bool { return area == cgroup || below(area, cgroup) || below(cgroup, area) }
		if down == capture.Refuse && slices.ContainsFunc(r.areas(rule), near) {
			return capture.Refuse
		}
	}
	return capture.Bypass
}

// Prefix is the directory that holds everything that a pattern can match: up
// to its first wildcard, or what holds the one path that it is.
func Prefix(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if Wild(part) || i == len(parts)-1 {
			return path.Clean("/" + unescape(strings.Join(parts[:i], "/")))
		}
	}
	return "/"
}

// Wild reports whether a pattern is more than one text.
func Wild(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// Literal is the pattern of one text.
func Literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}

// unescape is the text of a pattern that is not Wild.
func unescape(pattern string) string {
	return strings.NewReplacer(`\\`, `\`, `\*`, `*`, `\?`, `?`, `\[`, `[`, `\]`, `]`).Replace(pattern)
}

// whole reports whether a pattern matches a path, part by part.
func whole(pattern, cgroup string) bool {
	return strings.Count(pattern, "/") == strings.Count(cgroup, "/") && parts(pattern, cgroup)
}

// front reports whether a pattern can match something below a path.
func front(pattern, cgroup string) bool {
	return strings.Count(pattern, "/") > strings.Count(cgroup, "/") && parts(pattern, cgroup)
}

// parts reports whether each part of a path matches that of a pattern.
func parts(pattern, cgroup string) bool {
	patterns := strings.Split(pattern, "/")
	for i, part := range strings.Split(cgroup, "/") {
		if i >= len(patterns) || !matches(patterns[i], part) {
			return false
		}
	}
	return true
}

// below reports whether cgroup is below dir.
func below(dir, cgroup string) bool {
	return strings.HasPrefix(cgroup, strings.TrimSuffix(dir, "/")+"/")
}

// isUnit reports whether a cgroup is a systemd unit's, and not one that a
// unit, which may make cgroups of its own, has given such a name.
func (r *Rules) isUnit(cgroup string) bool {
	base := path.Base(cgroup)
	for _, kind := range []string{".service", ".scope", ".slice"} {
		if strings.HasSuffix(base, kind) {
			return r.HoldsUnits(path.Dir(cgroup))
		}
	}
	return false
}

// HoldsUnits reports whether systemd may put units into a cgroup: all on the
// way there, from Root, are slices or user managers.
func (r *Rules) HoldsUnits(cgroup string) bool {
	top := path.Join("/", r.Root)
	for ; cgroup != top; cgroup = path.Dir(cgroup) {
		base := path.Base(cgroup)
		if !strings.HasSuffix(base, ".slice") && !strings.HasPrefix(base, "user@") {
			return false // the top of the hierarchy among them, when Root is below
		}
	}
	return true
}

// PodCgroup returns the cgroup that holds all containers of a pod, given that
// of one of them: the nearest above that is named for the pod, else the
// container's own.
func PodCgroup(container, uid string) string {
	for dir := path.Dir(container); uid != "" && dir != "/"; dir = path.Dir(dir) {
		base := path.Base(dir)
		if strings.Contains(base, uid) || strings.Contains(base, strings.ReplaceAll(uid, "-", "_")) {
			return dir
		}
	}
	return container
}
