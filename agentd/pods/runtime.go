package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// errUnknown is that of a container that the runtime does not know, or has put
// elsewhere.
var errUnknown = errors.New("the runtime does not know it")

// maxAnswer is how long an answer of the runtime's may be: what it says of a
// container includes the whole specification.
const maxAnswer = 16 << 20

// A runtime is a container runtime that is spoken to over CRI.
type runtime struct {
	conn   *grpc.ClientConn
	client cri.RuntimeServiceClient
}

// dial prepares to speak with the runtime. It need not be there yet, and may
// go and come back.
func dial(socket string) (*runtime, error) {
	again := backoff.DefaultConfig
	again.BaseDelay, again.MaxDelay = 50*time.Millisecond, 2*time.Second
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return nil, fmt.Errorf("speak with the container runtime at %s: %w", socket, err)
	}
	return &runtime{conn, cri.NewRuntimeServiceClient(conn)}, nil
}

// version returns the runtime's name and version.
func (r *runtime) version(ctx context.Context) (string, error) {
	v, err := r.client.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return "", err
	}
	return v.RuntimeName + " " + v.RuntimeVersion, nil
}

// container returns what the runtime says of the container, or of the sandbox,
// with an id, and the path of the cgroup that it gave it.
func (r *runtime) container(ctx context.Context, id string) (Container, string, error) {
	answer, err := r.client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if status.Code(err) == codes.NotFound {
		return r.sandbox(ctx, id)
	}
	if err != nil {
		return Container{}, "", err
	}
	details, err := parseDetails(answer.Info)
	if err != nil {
		return Container{}, "", err
	}
	sandbox, _, err := r.sandbox(ctx, details.SandboxID)
	c := Container{
		ID:    answer.Status.GetId(),
		Name:  answer.Status.GetMetadata().GetName(),
		Image: image(answer.Status),
		Pod:   sandbox.Pod,
	}
	return c, details.path(), err
}

// sandbox is container for a pod's sandbox.
func (r *runtime) sandbox(ctx context.Context, id string) (Container, string, error) {
	answer, err := r.client.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if status.Code(err) == codes.NotFound {
		return Container{}, "", errUnknown
	}
	if err != nil {
		return Container{}, "", err
	}
	details, err := parseDetails(answer.Info)
	s := answer.Status
	return Container{
		ID: s.GetId(),
		Pod: Pod{
			UID:         s.GetMetadata().GetUid(),
			Namespace:   s.GetMetadata().GetNamespace(),
			Name:        s.GetMetadata().GetName(),
			Labels:      Labels(s.GetLabels()),
			Annotations: s.GetAnnotations(),
			HostNetwork: s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == cri.NamespaceMode_NODE,
		},
	}, details.path(), err
}

// details are what containerd and CRI-O add to a status that is asked for in
// full, of which CRI only says that it is JSON.
type details struct {
	SandboxID   string `json:"sandboxID"`
	RuntimeSpec struct {
		Linux struct {
			CgroupsPath string `json:"cgroupsPath"`
		} `json:"linux"`
	} `json:"runtimeSpec"`
}

func (d *details) path() string { return CgroupPath(d.RuntimeSpec.Linux.CgroupsPath) }

func parseDetails(info map[string]string) (details, error) {
	var d details
	text, ok := info["info"]
	if !ok {
		return d, errors.New("the runtime does not say where its containers' cgroups are")
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return d, fmt.Errorf("read what the runtime says of a container: %w", err)
	}
	return d, nil
}

// image returns the image's name as the pod gives it, where the runtime still
// knows.
func image(s *cri.ContainerStatus) string {
	for _, name := range []string{s.GetImage().GetUserSpecifiedImage(), s.GetImage().GetImage()} {
		if name != "" {
			return name
		}
	}
	return s.GetImageRef()
}

// Labels returns a pod's labels without those that kubelet adds for itself.
func Labels(labels map[string]string) map[string]string {
	own := make(map[string]string, len(labels))
	for k, v := range labels {
		switch k {
		case "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid":
		default:
			own[k] = v
		}
	}
	return own
}
