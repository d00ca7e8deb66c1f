package selection_test

import (
	"strings"
	"testing"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/pods"
	"agentd.dev/agentd/selection"
)

const (
	podCgroup = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"
	mainScope = podCgroup + "/cri-containerd-aaa.scope"
	sideScope = podCgroup + "/cri-containerd-bbb.scope"
	sandScope = podCgroup + "/cri-containerd-ccc.scope"
)

var web = pods.Pod{
	UID: "1-2", Namespace: "agents", Name: "web-7d9f", ServiceAccount: "web",
	Labels: map[string]string{"agentd.dev/capture": "true", "app": "web"}, Annotations: map[string]string{"note": "x"},
}

// of are the subjects that web is, and others.
var of = map[string]selection.Subject{
	"pod":     {Cgroup: podCgroup, Pod: &web},
	"main":    {Cgroup: mainScope, Container: &pods.Container{ID: "aaa", Name: "main", Image: "registry/web:1", Pod: web}},
	"side":    {Cgroup: sideScope, Container: &pods.Container{ID: "bbb", Name: "side", Image: "registry/proxy:1", Pod: web}},
	"sandbox": {Cgroup: sandScope, Container: &pods.Container{ID: "ccc", Pod: web}},
	"docker":  {Cgroup: "/docker/ddd", Container: &pods.Container{ID: "ddd", Name: "db", Image: "registry/db:1"}},
	"unit":    {Cgroup: "/system.slice/agent-1.service"},
	"sshd":    {Cgroup: "/system.slice/ssh.service"},
	"slice":   {Cgroup: "/system.slice/system-agent.slice"},
	"hidden":  {Cgroup: "/system.slice/ssh.service/agent-1.service"},
	"system":  {Cgroup: "/system.slice"},
	"roots":   {Cgroup: "/kubepods.slice"},
	"class":   {Cgroup: "/kubepods.slice/kubepods-burstable.slice"},
	"agents":  {Cgroup: "/agents.slice"},
	"batch":   {Cgroup: "/agents.slice/batch"},
	"deep":    {Cgroup: "/agents.slice/batch/7"},
	"top":     {Cgroup: "/other"},
}

func TestASubjectIsDecidedOnByTheFirstRuleThatSelectsIt(t *testing.T) {
	bypass := capture.Bypass
	for _, tt := range []struct {
		name  string
		rules []selection.Rule
		want  string // subject: state name source
	}{
		{"nothing", nil, "pod: free, main: free, docker: free, unit: inherits, top: inherits"},
		{
			"a namespace",
			[]selection.Rule{{Namespace: []string{"other", "agen*"}}},
			"pod: captured agents/web-7d9f pod, main: inherits, sandbox: inherits, docker: free, unit: inherits, roots: watched, class: inherits",
		},
		{"another namespace", []selection.Rule{{Namespace: []string{"agent"}}}, "pod: free, main: free, sandbox: free"},
		{
			"everything that is asked for",
			[]selection.Rule{{Name: "x", Namespace: []string{"agents"}, Labels: map[string]string{"app": "w?b"}, Annotations: map[string]string{"note": "*"}}},
			"pod: captured x pod, main: inherits",
		},
		{"a label that is not there", []selection.Rule{{Namespace: []string{"agents"}, Labels: map[string]string{"tier": "*"}}}, "pod: free"},
		{
			"a container",
			[]selection.Rule{{Namespace: []string{"agents"}, Container: []string{"main"}}},
			"pod: inherits, main: captured agents/web-7d9f pod, side: free, sandbox: free, docker: free",
		},
		{
			"an image, in any pod",
			[]selection.Rule{{Image: []string{"registry/d*", "registry/p*"}}},
			"pod: inherits, main: free, side: captured agents/web-7d9f pod, docker: captured db container",
		},
		{
			"a container, then the rest of its pod",
			[]selection.Rule{{Name: "one", Container: []string{"main"}, WhenDown: &bypass}, {Name: "rest", Namespace: []string{"agents"}}},
			"pod: captured rest pod, main: captured one pod bypass, side: inherits, sandbox: inherits",
		},
		{
			"a pod, then a container of it",
			[]selection.Rule{{Name: "rest", Namespace: []string{"agents"}}, {Name: "one", Container: []string{"main"}}},
			"pod: captured rest pod, main: inherits",
		},
		{
			"units",
			[]selection.Rule{{Unit: []string{"agent-*.service"}}},
			"unit: captured agent-1.service unit, sshd: free, slice: watched, hidden: inherits, system: watched, roots: inherits, top: inherits, pod: inherits, main: free",
		},
		{
			"cgroups by a pattern",
			[]selection.Rule{{Cgroup: []string{"/agents.slice/*/7"}}},
			"agents: watched, batch: watched, deep: captured agents.slice/batch/7 cgroup, top: inherits, unit: inherits",
		},
		{"what holds one cgroup", []selection.Rule{{Cgroup: []string{"/agents.slice/other"}}}, "agents: watched, batch: free, deep: inherits"},
		{"a cgroup at the top", []selection.Rule{{Cgroup: []string{"/other"}}}, "top: captured other cgroup, agents: inherits, system: inherits"},
		{
			"a pod by its cgroup",
			[]selection.Rule{{Name: "p", Cgroup: []string{"/kubepods.slice/*/*"}}},
			"pod: captured p pod, main: inherits, class: watched",
		},
		{
			"a container by its cgroup",
			[]selection.Rule{{Cgroup: []string{"/kubepods.slice/*/*/*-aaa.scope"}, Namespace: []string{"agents"}}},
			"pod: inherits, main: captured agents/web-7d9f pod, side: free",
		},
	} {
		rules := selection.Rules{List: tt.rules}
		for part := range strings.SplitSeq(tt.want, ", ") {
			subject, want, _ := strings.Cut(part, ": ")
			v := rules.Decide(of[subject])
			got := strings.Join(strings.Fields(strings.Join([]string{v.State.String(), v.Name, v.Source}, " ")), " ")
			if v.State == selection.Captured && v.WhenDown == capture.Bypass {
				got += " bypass"
			}
			if got != want {
				t.Errorf("%s: %s: got %s, want %s", tt.name, subject, got, want)
			}
		}
	}
}

// What is unknown below a watched cgroup is refused while agentd is away if any
// rule for that place says so.
func TestAWatchedCgroupIsAsStrictAsItsStrictestRule(t *testing.T) {
	refuse, bypass := capture.Refuse, capture.Bypass
	for _, tt := range []struct {
		name  string
		rules selection.Rules
		want  capture.Down
	}{
		{"all of them bypass", selection.Rules{WhenDown: bypass, List: []selection.Rule{{Namespace: []string{"a"}}}}, bypass},
		{"one refuses", selection.Rules{WhenDown: bypass, List: []selection.Rule{{Namespace: []string{"a"}}, {Image: []string{"b"}, WhenDown: &refuse}}}, refuse},
		{"one refuses elsewhere", selection.Rules{WhenDown: bypass, List: []selection.Rule{{Namespace: []string{"a"}}, {Unit: []string{"b.service"}, WhenDown: &refuse}}}, bypass},
	} {
		if v := tt.rules.Decide(of["roots"]); v.State != selection.Watched || v.WhenDown != tt.want {
			t.Errorf("%s: got %+v, want it watched, down %d", tt.name, v, tt.want)
		}
	}
}

func TestUnitsAndPodsAreLookedForBelowTheRoot(t *testing.T) {
	rules := selection.Rules{Root: "/lab", PodRoots: []string{"/node/kubepods"}, List: []selection.Rule{{Unit: []string{"a.service"}}, {Namespace: []string{"a"}}}}
	for _, tt := range []struct {
		cgroup string
		want   selection.State
	}{
		{"/lab/system.slice/a.service", selection.Captured},
		{"/lab/x.slice/a.service", selection.Captured},
		{"/system.slice/a.service", selection.Inherit},
		{"/lab/system.slice", selection.Watched},
		{"/lab/kubepods", selection.Watched},
		{"/node/kubepods", selection.Watched},
		{"/kubepods", selection.Inherit},
	} {
		if v := rules.Decide(selection.Subject{Cgroup: tt.cgroup}); v.State != tt.want {
			t.Errorf("%s: got %s, want %s", tt.cgroup, v.State, tt.want)
		}
	}
}

func TestLongNamesAreCutSoThatTheyDiffer(t *testing.T) {
	long := strings.Repeat("é", 40)
	a, b := selection.Short(long+"a"), selection.Short(long+"b")
	if len(a) > capture.MaxName || len(a) < capture.MaxName-2 || a == b || !strings.HasPrefix(a, "ééé") || strings.ContainsRune(a, '\ufffd') {
		t.Errorf("got %q and %q, want two of at most %d bytes", a, b, capture.MaxName)
	}
	if got := selection.Short("agents/web"); got != "agents/web" {
		t.Errorf("got %q, want it as it was", got)
	}
}

func TestAPodsCgroupIsTheOneNamedForIt(t *testing.T) {
	for _, tt := range []struct{ container, uid, want string }{
		{mainScope, "1-2", podCgroup},
		{"/kubepods/burstable/pod1-2/aaa", "1-2", "/kubepods/burstable/pod1-2"},
		{"/kubepods/pod1-2/aaa/nested", "1-2", "/kubepods/pod1-2"},
		{"/k8s.io/aaa", "1-2", "/k8s.io/aaa"},
		{"/docker/aaa", "", "/docker/aaa"},
	} {
		if got := selection.PodCgroup(tt.container, tt.uid); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.container, got, tt.want)
		}
	}
}

func TestPatternsOfOneTextMatchOnlyThat(t *testing.T) {
	for _, text := range []string{`agent\x2done.service`, "a*b", "a?[b]", "plain"} {
		if selection.Wild(selection.Literal(text)) {
			t.Errorf("%q: got a wildcard, want none", text)
		}
	}
	for pattern, want := range map[string]string{"/a/*/b": "/a", "/a/b": "/a", "/a": "/", "/*": "/", `/a\*b/c`: "/a*b"} {
		if got := selection.Prefix(pattern); got != want {
			t.Errorf("%s: got %s, want %s", pattern, got, want)
		}
	}
}
