package policy

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// variables are what conditions can ask about a session, whatever its
// protocol. A protocol's own are in its table of fields.
var variables = []variable{
	{"target.name", cel.StringType, func(s *Session) any { return s.Target.Name }},
	{"target.address", cel.StringType, func(s *Session) any { return s.Target.Address.Addr().Unmap().String() }},
	{"target.host", cel.StringType, func(s *Session) any { return s.Target.Host }},
	{"target.port", cel.IntType, func(s *Session) any { return int64(s.Target.Address.Port()) }},
	{"target.protocol", cel.StringType, func(s *Session) any { return s.Target.Protocol }},
	{"target.labels", cel.MapType(cel.StringType, cel.StringType), func(s *Session) any { return newLabels(s.Target.Labels) }},
	{"session.client_tls", cel.BoolType, func(s *Session) any { return s.ClientTLS != nil }},
	{"session.server_tls", cel.BoolType, func(s *Session) any { return s.ServerTLS != nil }},
	{"session.server_verified", cel.StringType, func(s *Session) any { return verified(s.ServerTLS) }},
	{"workload.name", cel.StringType, func(s *Session) any { return s.Identity.Workload }},
	{"workload.source", cel.StringType, func(s *Session) any { return s.Identity.Source }},
	{"workload.cgroup", cel.StringType, func(s *Session) any { return s.Identity.Cgroup }},
	{"workload.unit", cel.StringType, func(s *Session) any { return s.Identity.Unit }},
	{"workload.pid", cel.IntType, func(s *Session) any { return int64(s.Identity.Process.PID) }},
	{"workload.uid", cel.IntType, func(s *Session) any { return int64(s.Identity.Process.UID) }},
	{"workload.comm", cel.StringType, func(s *Session) any { return s.Identity.Process.Comm }},
	{"workload.namespace", cel.StringType, func(s *Session) any { return s.Identity.Namespace }},
	{"workload.pod", cel.StringType, func(s *Session) any { return s.Identity.Pod }},
	{"workload.container", cel.StringType, func(s *Session) any { return s.Identity.Container }},
	{"workload.image", cel.StringType, func(s *Session) any { return s.Identity.Image }},
	{"workload.service_account", cel.StringType, func(s *Session) any { return s.Identity.ServiceAccount }},
	{"workload.owner", cel.StringType, func(s *Session) any { return s.Identity.Owner }},
	{"workload.labels", cel.MapType(cel.StringType, cel.StringType), func(s *Session) any { return newLabels(s.Identity.Labels) }},
	{claimed, cel.MapType(cel.StringType, cel.StringType), func(s *Session) any { return nil }}, // see scope.claims
	{"workload.exe", cel.StringType, func(s *Session) any { return s.Identity.Process.Exe }},
}

// A variable is something conditions can ask about every session.
type variable struct {
	name string
	typ  *cel.Type
	of   func(*Session) any
}

// verified is what of the server's certificate was verified, "nothing" without
// TLS.
func verified(t *TLS) string {
	if t == nil {
		return "nothing"
	}
	return t.Verified
}

// labels are those of a target or of a pod. One that it does not have is "", so
// that a condition on it is false and not an error.
type labels struct{ traits.Mapper }

func newLabels(m map[string]string) labels {
	return labels{types.NewStringStringMap(types.DefaultTypeAdapter, m)}
}

// Find implements traits.Mapper.
func (l labels) Find(key ref.Val) (ref.Val, bool) {
	if v, ok := l.Mapper.Find(key); ok {
		return v, true
	}
	_, named := key.(types.String)
	return types.String(""), named
}
