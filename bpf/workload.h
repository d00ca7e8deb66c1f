/* Which workload a connection belongs to. */
#pragma once

#include "maps.h"

/* Cgroups are looked for this many levels below the root of the hierarchy. A
 * workload cannot leave by nesting deeper: its own cgroup is above that. */
#define MAX_LEVEL 32
/* A socket's cgroup is left upwards, so there depth would be a way out, and a
 * socket from deeper down than this is refused. */
#define MAX_DEPTH 64

#define TOO_DEEP (~0ULL)

/* captured_task returns the id of the innermost captured cgroup that the
 * calling process is in, 0 if there is none. */
static __always_inline __u64 captured_task(void)
{
	__u64 found = 0;

	for (int level = 0; level <= MAX_LEVEL; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			break;
		if (bpf_map_lookup_elem(&agentd_captured, &id))
			found = id;
	}
	return found;
}

/* captured_socket is the same for the cgroup that sk was made in: a socket
 * stays its workload's when it is handed on, or when its owner is moved. */
static __always_inline __u64 captured_socket(struct bpf_sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct cgroup *cgroup;

	if (!tcp)
		return 0;
	cgroup = tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup;
	if (!cgroup)
		return 0;
	if (cgroup->kn->id == bpf_get_current_cgroup_id())
		return 0; /* captured_task has looked there */
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		struct cgroup_subsys_state *parent;
		__u64 id = cgroup->kn->id;

		if (bpf_map_lookup_elem(&agentd_captured, &id))
			return id;
		parent = cgroup->self.parent;
		if (!parent)
			return 0;
		cgroup = parent->cgroup;
	}
	return TOO_DEEP;
}
