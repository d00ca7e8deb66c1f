package image_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"agentd.dev/agentd/internal/lab"
)

// A manifest is as much of a Kubernetes object as the test needs.
type manifest struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Data     map[string]string // of a ConfigMap
	Spec     struct {
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
	}
}

type podSpec struct {
	HostNetwork bool `yaml:"hostNetwork"`
	HostPID     bool `yaml:"hostPID"`
	Containers  []container
	Volumes     []volume
}

type container struct {
	Name, Image string
	Args        []string
	Env         []struct {
		Name      string
		ValueFrom struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	SecurityContext struct {
		Privileged               bool
		RunAsUser                int64 `yaml:"runAsUser"`
		AllowPrivilegeEscalation bool  `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Add, Drop []string }
	} `yaml:"securityContext"`
	ReadinessProbe probe   `yaml:"readinessProbe"`
	LivenessProbe  probe   `yaml:"livenessProbe"`
	VolumeMounts   []mount `yaml:"volumeMounts"`
}

type probe struct{ Exec struct{ Command []string } }

type mount struct {
	Name, MountPath, MountPropagation string
	ReadOnly                          bool
}

// UnmarshalYAML reads keys as Kubernetes writes them.
func (m *mount) UnmarshalYAML(node *yaml.Node) error {
	var keys struct {
		Name        string
		Path        string `yaml:"mountPath"`
		Propagation string `yaml:"mountPropagation"`
		ReadOnly    bool   `yaml:"readOnly"`
	}
	err := node.Decode(&keys)
	*m = mount{keys.Name, keys.Path, keys.Propagation, keys.ReadOnly}
	return err
}

type volume struct {
	Name     string
	HostPath *struct{ Path, Type string } `yaml:"hostPath"`
	Config   *struct{ Name string }       `yaml:"configMap"`
}

// manifests reads the objects in deploy/, by kind and name.
func manifests(t *testing.T) map[string]*manifest {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(lab.Root(t), "deploy", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("deploy/ has %v (%v), want manifests", files, err)
	}
	all := map[string]*manifest{}
	for _, file := range files {
		text, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer text.Close()
		for d := yaml.NewDecoder(text); ; {
			m := &manifest{}
			if d.Decode(m) != nil {
				break // the end, or what apply would refuse
			}
			all[m.Kind+"/"+m.Metadata.Name] = m
		}
	}
	return all
}

// containerConfig is what kubelet asks of the runtime for the first container
// of a pod. The volumes' folders are given, by name.
func (p *podSpec) containerConfig(t *testing.T, folders map[string]string) *cri.ContainerConfig {
	t.Helper()
	c := &p.Containers[0]
	s := &c.SecurityContext
	config := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: c.Name},
		Image:    &cri.ImageSpec{Image: c.Image},
		Args:     c.Args,
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			Privileged:       s.Privileged,
			RunAsUser:        &cri.Int64Value{Value: s.RunAsUser},
			NoNewPrivs:       !s.AllowPrivilegeEscalation,
			ReadonlyRootfs:   s.ReadOnlyRootFilesystem,
			Capabilities:     &cri.Capability{AddCapabilities: s.Capabilities.Add, DropCapabilities: s.Capabilities.Drop},
			NamespaceOptions: p.namespaces(),
			Seccomp:          &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined},
			MaskedPaths:      []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"},
			ReadonlyPaths:    []string{"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		}},
	}
	for _, env := range c.Env {
		if env.ValueFrom.FieldRef.FieldPath != "spec.nodeName" {
			t.Fatalf("the test does not know %s", env.ValueFrom.FieldRef.FieldPath)
		}
		config.Envs = append(config.Envs, &cri.KeyValue{Key: env.Name, Value: "lab"})
	}
	for _, m := range c.VolumeMounts {
		config.Mounts = append(config.Mounts, &cri.Mount{
			ContainerPath: m.MountPath,
			HostPath:      p.folder(t, m.Name, folders),
			Readonly:      m.ReadOnly,
			Propagation:   propagations[m.MountPropagation],
		})
	}
	return config
}

var propagations = map[string]cri.MountPropagation{
	"":                cri.MountPropagation_PROPAGATION_PRIVATE,
	"HostToContainer": cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER,
	"Bidirectional":   cri.MountPropagation_PROPAGATION_BIDIRECTIONAL,
}

// folder returns where a volume is on the node.
func (p *podSpec) folder(t *testing.T, name string, folders map[string]string) string {
	t.Helper()
	for _, v := range p.Volumes {
		switch {
		case v.Name != name:
		case v.HostPath != nil:
			return v.HostPath.Path
		case v.Config != nil && folders[v.Config.Name] != "":
			return folders[v.Config.Name]
		}
	}
	t.Fatalf("there is no volume %s that the test knows", name)
	return ""
}

func (p *podSpec) namespaces() *cri.NamespaceOption {
	o := &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}
	if p.HostNetwork {
		o.Network = cri.NamespaceMode_NODE
	}
	if p.HostPID {
		o.Pid = cri.NamespaceMode_NODE
	}
	return o
}

// writeConfigMap writes a ConfigMap into a folder, as kubelet does for a pod,
// with changes given as pairs of old and new text.
func writeConfigMap(t *testing.T, dir string, m *manifest, changes ...string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range m.Data {
		for i := 0; i < len(changes); i += 2 {
			if n := strings.Count(text, changes[i]); n != 1 {
				t.Fatalf("%s has %q %d times, want once", name, changes[i], n)
			}
		}
		text = strings.NewReplacer(changes...).Replace(text)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
