package agentd

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/selection"
	"agentd.dev/policy/document"
)

// A WorkloadConfig is a workload that is captured whenever it is there.
type WorkloadConfig struct {
	Name   string
	Unit   string // systemd unit, or
	Cgroup string // path below the cgroup-v2 root
}

// unitName is a systemd service or scope.
var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|scope|slice)$`)

var workloadName = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9][A-Za-z0-9._-]{0,%d}$`, capture.MaxName-1))

func readWorkloads(v document.Value) (all []WorkloadConfig) {
	seen := map[string]bool{}
	v.List(func(v document.Value) {
		var w WorkloadConfig
		v.Map(w.keys())
		switch {
		case w.Unit != "" && w.Cgroup != "":
			v.Problem("both `unit` and `cgroup`: one says where the workload is")
		case w.Unit == "" && w.Cgroup == "" && w.Name != "":
			v.Problem("workload %q is nowhere: give its `unit` or its `cgroup`", w.Name)
		case w.Name != "" && seen[w.Name]:
			v.Problem("workload %q again: names must differ", w.Name)
		}
		seen[w.Name] = true
		all = append(all, w)
	})
	return all
}

func (w *WorkloadConfig) keys() []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: name(&w.Name, workloadName, "a workload")},
		{Name: "unit", Read: func(v document.Value) {
			unit, ok := v.Text()
			if ok && !unitName.MatchString(unit) {
				v.Problem("%q is not a systemd unit: write its whole name, as agent.service", unit)
				return
			}
			w.Unit = unit
		}},
		{Name: "cgroup", Read: func(v document.Value) {
			path, ok := v.Text()
			if ok && (!strings.HasPrefix(path, "/") || filepath.Clean(path) != path || path == "/") {
				v.Problem("%q is not a path below the cgroup-v2 root: write it as in /proc/PID/cgroup, as /agents/coder", path)
				return
			}
			w.Cgroup = path
		}},
	}
}

// rule is what selects the workload.
func (w *WorkloadConfig) rule() selection.Rule {
	r := selection.Rule{Name: w.Name, Listed: true}
	if w.Unit != "" {
		r.Unit = []string{selection.Literal(w.Unit)}
	} else {
		r.Cgroup = []string{selection.Literal(w.Cgroup)}
	}
	return r
}
