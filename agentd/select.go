package agentd

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/selection"
	"agentd.dev/policy/document"
)

// rules are what is selected: the workloads by name first, then capture.select.
func (c *CaptureConfig) rules() *selection.Rules {
	r := &selection.Rules{WhenDown: c.WhenDown, Strict: c.Strict}
	for i := range c.Workloads {
		r.List = append(r.List, c.Workloads[i].rule())
	}
	r.List = append(r.List, c.Select...)
	return r
}

// read reads the mapping, and what of it does not go together.
func (c *CaptureConfig) read(folder string) func(document.Value) {
	return func(v document.Value) {
		keys := c.keys(folder)
		at := slices.IndexFunc(keys, func(k document.Key) bool { return k.Name == "select" })
		read := keys[at].Read
		var selected document.Value
		keys[at].Read = func(v document.Value) { selected = v; read(v) }
		v.Map(keys)
		if c.Runtime == "" && c.NRI != "" {
			v.Problem("`nri` announces containers that `runtime` knows: set that too")
		}
		if c.Runtime == "" && slices.ContainsFunc(c.Select, func(r selection.Rule) bool { return r.OfContainers() }) {
			selected.Problem("asks for pods or containers, and nothing here knows them: " +
				"set `runtime` to the CRI socket of the container runtime, as /run/containerd/containerd.sock")
		}
	}
}

// readSelect reads capture.select.
func readSelect(v document.Value) (all []selection.Rule) {
	v.List(func(v document.Value) {
		var r selection.Rule
		asked := false
		keys := selectKeys(&r)
		for i := range keys {
			if read := keys[i].Read; keys[i].Name != "name" && keys[i].Name != "whenDown" {
				keys[i].Read = func(v document.Value) { asked = true; read(v) }
			}
		}
		v.Map(keys)
		if !asked {
			v.Problem("selects everything: give at least one of `namespace`, `labels`, `annotations`, `container`, `image`, `cgroup` and `unit`")
		}
		all = append(all, r)
	})
	return all
}

// selectKeys are the keys of an entry of capture.select.
func selectKeys(r *selection.Rule) []document.Key {
	return []document.Key{
		{Name: "name", Read: name(&r.Name, workloadName, "a workload")},
		{Name: "namespace", Read: patterns(&r.Namespace, nil)},
		{Name: "labels", Read: patternsByKey(&r.Labels)},
		{Name: "annotations", Read: patternsByKey(&r.Annotations)},
		{Name: "container", Read: patterns(&r.Container, nil)},
		{Name: "image", Read: patterns(&r.Image, nil)},
		{Name: "cgroup", Read: patterns(&r.Cgroup, cgroupPattern)},
		{Name: "unit", Read: patterns(&r.Unit, unitPattern)},
		{Name: "whenDown", Read: func(v document.Value) {
			var down capture.Down
			choice(&down, "refuse", "bypass")(v)
			r.WhenDown = &down
		}},
	}
}

// patterns reads a pattern or a list of them. Valid says what is wrong with
// one besides that it is none.
func patterns(to *[]string, valid func(pattern string) error) func(document.Value) {
	one := func(v document.Value) {
		if p, ok := pattern(v); ok {
			if valid != nil {
				if err := valid(p); err != nil {
					v.Problem("%v", err)
					return
				}
			}
			*to = append(*to, p)
		}
	}
	return func(v document.Value) {
		if !v.IsList() {
			one(v)
			return
		}
		n := 0
		v.List(func(v document.Value) { n++; one(v) })
		if n == 0 {
			v.Problem("an empty list asks for nothing: leave the key out, or name at least one")
		}
	}
}

// patternsByKey reads a mapping of names to patterns.
func patternsByKey(to *map[string]string) func(document.Value) {
	return func(v document.Value) {
		*to = map[string]string{}
		n := 0
		v.Pairs(func(key, value document.Value) {
			n++
			k, ok := key.Word()
			if p, also := pattern(value); ok && also {
				(*to)[k] = p
			}
		})
		if n == 0 {
			v.Problem("an empty mapping asks for nothing: leave the key out, or name at least one")
		}
	}
}

// pattern reads one pattern of path.Match.
func pattern(v document.Value) (string, bool) {
	text, ok := v.Text()
	if !ok {
		return "", false
	}
	if _, err := path.Match(text, ""); err != nil {
		v.Problem(`%q is not a pattern: * stands for anything but a slash, ? for one letter, [a-z] for one of some; put a \ before one that is meant itself`, text)
		return "", false
	}
	return text, true
}

// cgroupPattern returns what is wrong with a pattern of paths.
func cgroupPattern(p string) error {
	for part := range strings.SplitSeq(p, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Errorf("%q has a slash in brackets: a pattern is matched between slashes", p)
		}
	}
	if !strings.HasPrefix(p, "/") || filepath.Clean(p) != p || p == "/" {
		return fmt.Errorf("%q is not a path below the cgroup-v2 root: write it as in /proc/PID/cgroup, as /agents.slice/*", p)
	}
	return nil
}

// unitPattern returns what is wrong with a pattern of units.
func unitPattern(p string) error {
	if strings.Contains(p, "/") {
		return fmt.Errorf("%q is not a systemd unit: write its name, as agent-*.service, or its path as `cgroup`", p)
	}
	for _, kind := range []string{".service", ".scope", ".slice", "*"} {
		if strings.HasSuffix(p, kind) {
			return nil
		}
	}
	return fmt.Errorf("%q is not a systemd unit: write its whole name, as agent-*.service", p)
}
