package cluster

import (
	"fmt"
	"path/filepath"
	"testing"
)

// startControlPlane starts what a cluster has beside its nodes.
func (n *Node) startControlPlane(t testing.TB) {
	t.Helper()
	n.start(t, "etcd", "--data-dir", filepath.Join(n.Dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380")

	file := n.keys.file
	n.keys.issue(t, "apiserver", "kube-apiserver", "", Address, service, "127.0.0.1")
	n.keys.issue(t, "to-kubelet", "kube-apiserver", "system:masters")
	n.keys.issue(t, "tokens", "tokens", "")
	n.start(t, "kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+Address, "--secure-port=443", "--service-cluster-ip-range="+service+"/24",
		"--tls-cert-file="+file("apiserver.crt"), "--tls-private-key-file="+file("apiserver.key"),
		"--client-ca-file="+file("ca.crt"),
		"--kubelet-client-certificate="+file("to-kubelet.crt"), "--kubelet-client-key="+file("to-kubelet.key"),
		"--kubelet-certificate-authority="+file("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+file("tokens.crt"), "--service-account-signing-key-file="+file("tokens.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true")
	n.user(t, "admin", "admin", "system:masters")
	n.Await(t, "the API server", func() error {
		_, err := n.Kubectl(t, "get", "--raw", "/readyz")
		return err
	})

	n.user(t, "controller-manager", "system:kube-controller-manager", "")
	n.start(t, "kube-controller-manager", "--kubeconfig="+n.kubeconfig("controller-manager"),
		"--leader-elect=false", "--use-service-account-credentials=true",
		"--service-account-private-key-file="+file("tokens.key"), "--root-ca-file="+file("ca.crt"))
	n.user(t, "scheduler", "system:kube-scheduler", "")
	n.start(t, "kube-scheduler", "--kubeconfig="+n.kubeconfig("scheduler"), "--leader-elect=false")
}

// startKubelet registers the node and returns once it is Ready.
func (n *Node) startKubelet(t testing.TB) {
	t.Helper()
	n.keys.issue(t, "kubelet-serving", Name, "", Address)
	n.user(t, "kubelet", "system:node:"+Name, "system:nodes")
	config := filepath.Join(n.Dir, "kubelet.yaml")
	write(t, config, fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: %q}}
tlsCertFile: %q
tlsPrivateKeyFile: %q
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: %s
failCgroupV1: false
localStorageCapacityIsolation: false
enforceNodeAllocatable: []
evictionHard: {memory.available: "1Mi", nodefs.available: "0%%"}
failSwapOn: false
resolvConf: ""
syncFrequency: 5s   # how soon a changed ConfigMap is seen, at the latest
`, n.keys.file("ca.crt"), n.keys.file("kubelet-serving.crt"), n.keys.file("kubelet-serving.key"), n.Parent))
	n.start(t, "kubelet", "--config="+config, "--kubeconfig="+n.kubeconfig("kubelet"), "--hostname-override="+Name, "--node-ip="+Address)
	n.Await(t, "the node", func() error {
		_, err := n.Kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "node/"+Name)
		return err
	})
	n.Await(t, "the service account of pods", func() error {
		_, err := n.Kubectl(t, "get", "serviceaccount", "default")
		return err
	})
}
