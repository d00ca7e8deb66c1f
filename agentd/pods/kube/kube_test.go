package kube_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"agentd.dev/agentd/pods"
	"agentd.dev/agentd/pods/kube"
)

func TestPodsAreEnriched(t *testing.T) {
	server := newServer(t)
	server.put(namespace("agents", map[string]string{"team": "research"}))
	server.put(pod("u-1", "agents", "web-0", map[string]string{"app": "web"}))
	api := follow(t, server)

	is := func(p pods.Pod) bool { return p.Labels["app"] == "web" && p.NamespaceLabels != nil }
	got := await(t, api, pods.Pod{UID: "u-1", Namespace: "agents", Name: "web-0"}, is)
	if got.ServiceAccount != "robot" || got.Owner != "ReplicaSet/web" || !maps.Equal(got.NamespaceLabels, map[string]string{"team": "research"}) {
		t.Errorf("pod %+v, want service account robot, owner ReplicaSet/web, a namespace of team research", got)
	}
	if problem := api.Problem(); problem != "" {
		t.Errorf("the problem is %q, want none", problem)
	}
	if nodes := server.asked("/api/v1/pods"); nodes != "spec.nodeName=node-7" {
		t.Errorf("asked for pods with %q, want those of node-7", nodes)
	}

	server.put(pod("u-1", "agents", "web-0", map[string]string{"app": "web", "captured": "yes"}))
	await(t, api, got, func(p pods.Pod) bool { return p.Labels["captured"] == "yes" })
}

func TestAPodOfAnotherUIDOrNameIsAnother(t *testing.T) {
	server := newServer(t)
	server.put(pod("u-1", "agents", "web-0", map[string]string{"app": "web"}))
	static := pod("u-2", "system", "proxy-node-7", map[string]string{"app": "proxy"})
	static.Annotations = map[string]string{core.MirrorPodAnnotationKey: "of-a-file"}
	server.put(static)
	api := follow(t, server)
	known := func(p pods.Pod) bool { return p.ServiceAccount != "" }
	await(t, api, pods.Pod{UID: "u-1", Namespace: "agents", Name: "web-0"}, known)
	await(t, api, pods.Pod{UID: "of-a-file", Namespace: "system", Name: "proxy-node-7"}, known)
	for _, p := range []pods.Pod{
		{UID: "u-0", Namespace: "agents", Name: "web-0"}, // of the same name, before it
		{UID: "u-1", Namespace: "agents", Name: "web-1"},
		{UID: "of-a-file", Namespace: "agents", Name: "proxy-node-7"},
	} {
		api.Enrich(&p)
		if p.ServiceAccount != "" || p.Labels != nil {
			t.Errorf("pod %+v, want nothing added", p)
		}
	}
}

func TestWhatWasKnownStaysWhileTheServerIsAway(t *testing.T) {
	server := newServer(t)
	server.put(pod("u-1", "agents", "web-0", nil))
	api := follow(t, server)
	known := func(p pods.Pod) bool { return p.ServiceAccount == "robot" }
	await(t, api, pods.Pod{UID: "u-1", Namespace: "agents", Name: "web-0"}, known)
	server.http.CloseClientConnections()
	server.http.Close()
	p := pods.Pod{UID: "u-1", Namespace: "agents", Name: "web-0"}
	if api.Enrich(&p); !known(p) {
		t.Errorf("pod %+v, want service account robot", p)
	}
}

func TestAServerThatRefusesIsAProblem(t *testing.T) {
	server := newServer(t)
	server.refuse = true
	api := follow(t, server)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(api.Problem(), "ask the API server"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the problem is %q, want that the API server refuses", api.Problem())
		}
	}
}

func pod(uid types.UID, namespace, name string, labels map[string]string) *core.Pod {
	yes := true
	return &core.Pod{
		TypeMeta: meta.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: meta.ObjectMeta{
			UID: uid, Namespace: namespace, Name: name, Labels: labels,
			OwnerReferences: []meta.OwnerReference{{Kind: "ReplicaSet", Name: "web", Controller: &yes}},
		},
		Spec: core.PodSpec{ServiceAccountName: "robot"},
	}
}

func namespace(name string, labels map[string]string) *core.Namespace {
	return &core.Namespace{
		TypeMeta:   meta.TypeMeta{Kind: "Namespace", APIVersion: "v1"},
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: labels},
	}
}

func follow(t *testing.T, server *server) *kube.API {
	t.Helper()
	api, err := kube.Open(&rest.Config{Host: server.http.URL}, "node-7", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return api
}

// await enriches p until it is as is wants.
func await(t *testing.T, api *kube.API, p pods.Pod, is func(pods.Pod) bool) pods.Pod {
	t.Helper()
	for {
		got := p
		if api.Enrich(&got); is(got) {
			return got
		}
		select {
		case <-api.Changes():
		case <-time.After(10 * time.Second):
			t.Fatalf("no change of pod %+v: %s", got, api.Problem())
		}
	}
}

// A server speaks as much of the API server's language as an informer: list,
// and watch from a version on. The real one is in the tests of a whole cluster.
type server struct {
	http   *httptest.Server
	refuse bool

	mu       sync.Mutex // guards what is below
	objects  []meta.Object
	selector map[string]string // by path
	more     chan struct{}     // closed when there are more objects
}

func newServer(t *testing.T) *server {
	s := &server{selector: map[string]string{}, more: make(chan struct{})}
	s.http = httptest.NewServer(s)
	t.Cleanup(s.http.Close)
	t.Cleanup(s.http.CloseClientConnections) // first: watches last
	return s
}

// put adds an object, or a new version of it.
func (s *server) put(o meta.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects = append(s.objects, o)
	o.SetResourceVersion(strconv.Itoa(len(s.objects)))
	close(s.more)
	s.more = make(chan struct{})
}

func (s *server) asked(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.selector[path]
}

// since returns the objects of a path after a version, the last version, and
// what is closed when there are more.
func (s *server) since(path string, version int) ([]meta.Object, int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []meta.Object
	for _, o := range s.objects[min(version, len(s.objects)):] {
		if _, isPod := o.(*core.Pod); isPod == strings.HasSuffix(path, "/pods") {
			some = append(some, o)
		}
	}
	return some, len(s.objects), s.more
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ask := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case s.refuse:
		w.WriteHeader(http.StatusForbidden)
	case ask.Get("sendInitialEvents") != "": // as a server that cannot stream lists
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(meta.Status{
			TypeMeta: meta.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status:   meta.StatusFailure, Reason: meta.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
		})
	case ask.Get("watch") != "":
		s.watch(w, r, ask.Get("resourceVersion"))
	default:
		s.list(w, r)
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.selector[r.URL.Path] = r.URL.Query().Get("fieldSelector")
	s.mu.Unlock()
	items, version, _ := s.since(r.URL.Path, 0)
	kind := "NamespaceList"
	if strings.HasSuffix(r.URL.Path, "/pods") {
		kind = "PodList"
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": kind, "apiVersion": "v1",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(version)},
		"items":    items,
	})
}

func (s *server) watch(w http.ResponseWriter, r *http.Request, from string) {
	version, _ := strconv.Atoi(from)
	for {
		some, last, more := s.since(r.URL.Path, version)
		for _, o := range some {
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": o})
		}
		version = last
		w.(http.Flusher).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}
