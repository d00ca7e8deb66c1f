package cluster

import (
	"fmt"
	"strings"
	"testing"
)

// Kubectl runs kubectl as the cluster's administrator and returns what it
// printed. An error holds what it said.
func (n *Node) Kubectl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return n.KubectlWith(t, "", args...)
}

// KubectlWith is Kubectl with something to read.
func (n *Node) KubectlWith(t testing.TB, input string, args ...string) (string, error) {
	t.Helper()
	cmd := n.Command(t, "kubectl", args...)
	var out, said strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}
