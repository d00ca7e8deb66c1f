/* Which workload a connection belongs to, and how that stands. */
#pragma once

#include "maps.h"

/* Cgroups are looked for this many levels below the root of the hierarchy. A
 * workload cannot leave by nesting deeper: its own cgroup is above that. */
#define MAX_LEVEL 32
/* A socket's cgroup is left upwards, so there depth would be a way out, and a
 * socket from deeper down than this is refused. */
#define MAX_DEPTH 64

/* How a task or a socket stands: 0 if nobody has decided on any cgroup above
 * it, which leaves it free. */
struct standing {
	enum kind kind;
	__u64 id; /* of the cgroup that decides: the innermost with an entry */
	int too_deep;
};

static __always_inline void decided(struct standing *s, __u64 id)
{
	struct workload *w = bpf_map_lookup_elem(&agentd_workload, &id);

	if (!w)
		return;
	s->kind = w->kind;
	s->id = id;
}

/* stand_task is how the calling task stands. */
static __always_inline void stand_task(struct standing *s)
{
	for (int level = 0; level <= MAX_LEVEL; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			break;
		decided(s, id);
	}
}

/* stand_socket is the same for the cgroup that a TCP socket was made in: a
 * socket stays its workload's when it is handed on, or its owner is moved. */
static __always_inline void stand_socket(struct standing *s, struct bpf_sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct cgroup *cgroup;

	if (!tcp)
		return;
	cgroup = tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup;
	if (!cgroup)
		return;
	if (cgroup->kn->id == bpf_get_current_cgroup_id())
		return; /* stand_task has looked there */
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		struct cgroup_subsys_state *parent;

		decided(s, cgroup->kn->id);
		if (s->kind)
			return;
		parent = cgroup->self.parent;
		if (!parent)
			return;
		cgroup = parent->cgroup;
	}
	s->too_deep = 1;
}

/* stand is how a connection of the calling task over sk stands. Captured by
 * one of the two is captured, and unknown by one of them is unknown. */
static __always_inline void stand(struct standing *s, struct bpf_sock *sk)
{
	struct standing socket = {};

	stand_task(s);
	if (s->kind == CAPTURED)
		return;
	stand_socket(&socket, sk);
	s->too_deep = socket.too_deep;
	if (socket.kind == CAPTURED || socket.kind == WATCHED) {
		s->kind = socket.kind;
		s->id = socket.id;
	}
}

/* stand_packet is how the socket of a packet stands. */
static __always_inline void stand_packet(struct standing *s, struct __sk_buff *skb)
{
	for (int level = 0; level <= MAX_LEVEL; level++) {
		__u64 id = bpf_skb_ancestor_cgroup_id(skb, level);

		if (!id)
			break;
		decided(s, id);
	}
}

/* unknown_may is what may happen to those below a watched cgroup. */
static __always_inline enum unknown unknown_may(__u64 watched)
{
	struct workload *w = bpf_map_lookup_elem(&agentd_workload, &watched);

	return w ? w->unknown : DENY_UNKNOWN;
}

/* tag_of returns the tag of a socket, 0 if it has none. */
static __always_inline __u64 tag_of(void *sk)
{
	__u64 *tag = bpf_sk_storage_get(&agentd_tags, sk, 0, 0);

	return tag ? *tag : 0;
}

static __always_inline int put_tag(void *sk, __u64 value)
{
	__u64 *tag = bpf_sk_storage_get(&agentd_tags, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!tag)
		return -1;
	*tag = value;
	return 0;
}
