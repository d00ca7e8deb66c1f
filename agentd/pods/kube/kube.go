// Package kube knows of this node's pods what the API server knows and the
// container runtime does not: service accounts, owners, labels of namespaces,
// and labels that were changed after a pod had begun.
//
// It adds to what the runtime says and contradicts it in nothing that tells
// who a pod is. While the API server does not answer, what was known stays.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/go-logr/logr"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"agentd.dev/agentd/pods"
)

// ErrNotInCluster is returned by InCluster outside of a Kubernetes pod.
var ErrNotInCluster = rest.ErrNotInCluster

// mirror is the annotation in which the API's image of a static pod has the
// UID under which kubelet runs it. Kubelet removes other pods that have it.
const mirror = core.MirrorPodAnnotationKey

// An API follows the pods of one node. It is a pods.Source.
type API struct {
	pods       cache.SharedIndexInformer // by UID
	namespaces cache.SharedIndexInformer
	changes    chan struct{}
	stop       context.CancelFunc
	wg         sync.WaitGroup

	mu      sync.Mutex // guards problem
	problem string
}

// InCluster is Open with the credentials that Kubernetes gives to each pod,
// for the node that $NODE_NAME names. The error matches ErrNotInCluster where
// there are none.
func InCluster(log *slog.Logger) (*API, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	node := os.Getenv("NODE_NAME")
	if node == "" {
		return nil, errors.New("no NODE_NAME in the environment: set it from spec.nodeName, as deploy/daemonset.yaml does")
	}
	return Open(config, node, log)
}

// Open starts to follow the pods of a node, and all namespaces, until Close.
// It does not wait for the API server.
func Open(config *rest.Config, node string, log *slog.Logger) (*API, error) {
	client, err := newClient(config)
	if err != nil {
		return nil, fmt.Errorf("speak with the API server: %w", err)
	}
	ours := fields.OneTermEqualSelector("spec.nodeName", node)
	a := &API{
		pods: cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(client, "pods", meta.NamespaceAll, ours),
			&core.Pod{}, 0, cache.Indexers{"uid": uids}),
		namespaces: cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(client, "namespaces", meta.NamespaceAll, fields.Everything()),
			&core.Namespace{}, 0, nil),
		changes: make(chan struct{}, 1),
	}
	ctx, stop := context.WithCancel(klog.NewContext(context.Background(), logr.FromSlogHandler(log.Handler())))
	a.stop = stop
	for _, informer := range []cache.SharedIndexInformer{a.pods, a.namespaces} {
		if err := a.follow(ctx, informer); err != nil {
			a.Close()
			return nil, fmt.Errorf("follow the API server: %w", err)
		}
	}
	return a, nil
}

// newClient returns a client that knows the core API alone: those of all APIs
// would make the program half as large again.
func newClient(config *rest.Config) (*rest.RESTClient, error) {
	scheme := runtime.NewScheme()
	if err := core.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.APIPath = "/api"
	config.GroupVersion = &core.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.UserAgent = "agentd"
	return rest.RESTClientFor(config)
}

// follow starts one informer.
func (a *API) follow(ctx context.Context, informer cache.SharedIndexInformer) error {
	if err := informer.SetTransform(trim); err != nil {
		return err
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		a.failed(err)
		cache.DefaultWatchErrorHandler(ctx, r, err)
	}); err != nil {
		return err
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { a.changed() },
		UpdateFunc: func(any, any) { a.changed() },
		DeleteFunc: func(any) { a.changed() },
	}); err != nil {
		return err
	}
	a.wg.Go(func() { informer.RunWithContext(ctx) })
	return nil
}

// Close ends what Open started.
func (a *API) Close() {
	a.stop()
	a.wg.Wait()
}

// Changes gets a value after something that Enrich adds has changed.
func (a *API) Changes() <-chan struct{} { return a.changes }

// Enrich adds to p what the API server knows of the pod with its UID.
func (a *API) Enrich(p *pods.Pod) {
	if ns, ok, _ := a.namespaces.GetStore().GetByKey(p.Namespace); ok {
		p.NamespaceLabels = ns.(*core.Namespace).Labels
	}
	found, err := a.pods.GetIndexer().ByIndex("uid", p.UID)
	if err != nil {
		return
	}
	for _, f := range found {
		pod := f.(*core.Pod)
		if pod.Namespace != p.Namespace || pod.Name != p.Name {
			continue
		}
		p.Labels, p.Annotations = pod.Labels, pod.Annotations
		p.ServiceAccount = pod.Spec.ServiceAccountName
		if owner := meta.GetControllerOfNoCopy(pod); owner != nil {
			p.Owner = owner.Kind + "/" + owner.Name
		}
	}
}

// Problem says why the API server has told us nothing yet; "" if it has. What it
// told stays while it is away.
func (a *API) Problem() string {
	if a.pods.HasSynced() && a.namespaces.HasSynced() {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.problem == "" {
		return "the API server has not answered yet"
	}
	return a.problem
}

func (a *API) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.problem = fmt.Sprintf("ask the API server: %v", err)
}

// changed says so to whoever receives from Changes.
func (a *API) changed() {
	select {
	case a.changes <- struct{}{}:
	default: // said already
	}
}

// uids returns the UIDs that kubelet may run a pod under.
func uids(object any) ([]string, error) {
	pod, ok := object.(*core.Pod)
	if !ok {
		return nil, fmt.Errorf("a %T among pods", object)
	}
	all := []string{string(pod.UID)}
	if static := pod.Annotations[mirror]; static != "" {
		all = append(all, static)
	}
	return all, nil
}

// trim keeps of an object what Enrich needs, and what the informer does.
func trim(object any) (any, error) {
	switch o := object.(type) {
	case *core.Pod:
		return &core.Pod{
			ObjectMeta: head(&o.ObjectMeta),
			Spec:       core.PodSpec{ServiceAccountName: o.Spec.ServiceAccountName},
		}, nil
	case *core.Namespace:
		return &core.Namespace{ObjectMeta: head(&o.ObjectMeta)}, nil
	}
	return object, nil
}

func head(m *meta.ObjectMeta) meta.ObjectMeta {
	return meta.ObjectMeta{
		Name:            m.Name,
		Namespace:       m.Namespace,
		UID:             m.UID,
		ResourceVersion: m.ResourceVersion,
		Labels:          m.Labels,
		Annotations:     m.Annotations,
		OwnerReferences: m.OwnerReferences,
	}
}
