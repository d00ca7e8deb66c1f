/* connect(): the connections of captured workloads go to agentd's listener in
 * their own network namespace. */
#pragma once

#include "datagram.h"
#include "listener.h"
#include "maps.h"
#include "workload.h"

#define ALLOW 1
#define REFUSE 0

/* The verifier wants each word of the context written by a store of its own,
 * and clang would merge neighbours. */
#define SET(field, value) (*(volatile __u32 *)&(field) = (value))

static __always_inline int refuse(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

/* pass lets a connection past agentd, and the packets of it past egress. */
static __always_inline int pass(struct bpf_sock *sk)
{
	return put_tag(sk, PASSED) ? refuse() : ALLOW;
}

/* without_agentd does what is to be done while agentd is away. It is not where
 * it only does not listen for a family, as a workload that may bring IPv6 up
 * later can have it: that is refused. */
static __always_inline int without_agentd(struct bpf_sock *sk, __u64 id, enum listener found)
{
	struct workload *w = bpf_map_lookup_elem(&agentd_workload, &id);

	if (found == MISSING || found == UNSERVED)
		COUNT(no_listener);
	else if (found == SQUATTER)
		COUNT(squatter);
	else
		COUNT(hung);
	if (!w || w->down != BYPASS_DOWN || found == UNSERVED)
		return refuse();
	COUNT(bypassed);
	return pass(sk);
}

/* want asks agentd to see to a connection at once. */
static __always_inline void want(struct bpf_sock_addr *ctx, struct origin *o)
{
	struct want w = {};

	w.netns = bpf_get_netns_cookie(ctx);
	w.cgroup = o->cgroup;
	w.captured = o->captured;
	w.tid = (__u32)bpf_get_current_pid_tgid();
	w.unknown = o->unknown;
	bpf_ringbuf_output(&agentd_wants, &w, sizeof(w), 0);
}

/* connect_other decides on a connect() that is not TCP's. That of UDP sends
 * nothing, and resolvers use it to sort addresses: it is let be, and what is
 * sent is judged when it is. A socket that was made elsewhere is marked, since
 * egress goes by where it was made. */
static __always_inline int connect_other(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	if (ctx->protocol == IPPROTO_MPTCP)
		return ALLOW; /* its subflows connect */
	if (!bound())
		return ALLOW;
	if (ctx->type != SOCK_DGRAM || ctx->protocol != IPPROTO_UDP) {
		COUNT(sockets);
		return REFUSE;
	}
	return put_tag(sk, TAKEN) ? refuse() : ALLOW;
}

/* ask_process notes who is connecting. */
static __always_inline void ask_process(struct origin *o)
{
	struct task_struct *task = bpf_get_current_task_btf();

	o->start = task->group_leader->start_boottime;
	o->tgid = bpf_get_current_pid_tgid() >> 32;
	o->uid = (__u32)bpf_get_current_uid_gid();
	o->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm((char *)o->comm, sizeof(o->comm));
}

/* ask_socket notes what the socket was told before. A socket bound to an
 * interface would never reach loopback: agentd binds its own instead. */
static __always_inline int ask_socket(struct bpf_sock_addr *ctx, struct bpf_sock *sk, struct origin *o)
{
	char none[4] = {};

	o->connection.cookie = bpf_get_socket_cookie(ctx);
	o->connection.at = bpf_ktime_get_ns();
	o->ifindex = sk->bound_dev_if;
	if (sk->family == AF_INET6) {
		o->bound[0] = sk->src_ip6[0];
		o->bound[1] = sk->src_ip6[1];
		o->bound[2] = sk->src_ip6[2];
		o->bound[3] = sk->src_ip6[3];
	} else if (sk->src_ip4) {
		o->bound[0] = 0;
		o->bound[1] = 0;
		o->bound[2] = V4MAPPED;
		o->bound[3] = sk->src_ip4;
	} else {
		__builtin_memset(o->bound, 0, sizeof(o->bound));
	}
	if (!o->ifindex)
		return 0;
	return bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none));
}

/* redirect decides on one connect(). It returns ALLOW or REFUSE for good, or
 * the port of the listener to send the connection to, in host order; *origin
 * then waits for its destination. */
#define DECIDED(port) ((port) <= ALLOW)

static __always_inline __u32 redirect(struct bpf_sock_addr *ctx, int v4, struct origin **origin)
{
	struct bpf_sock *sk = ctx->sk;
	struct standing s = {};
	struct origin *o;
	enum listener found;
	__u16 port = 0;

	if (!sk)
		return ALLOW;
	if (ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP)
		return connect_other(ctx, sk);
	/* An earlier connect of this socket says nothing about this one. */
	bpf_sk_storage_delete(&agentd_origins, sk);
	if (own(sk))
		return ALLOW;
	bpf_sk_storage_delete(&agentd_tags, sk);
	stand(&s, sk);
	if (s.too_deep) {
		COUNT(too_deep);
		return refuse();
	}
	if (s.kind != CAPTURED && s.kind != WATCHED)
		return ALLOW;
	if (s.kind == WATCHED) {
		enum unknown may = unknown_may(s.id);

		if (may == ALLOW_UNKNOWN) {
			COUNT(unknown_allowed);
			return pass(sk);
		}
		if (may == DENY_UNKNOWN) {
			COUNT(unknown_denied);
			return refuse();
		}
	}
	found = prove(ctx, v4, &port);
	if (found != READY && found != ABSENT)
		return without_agentd(sk, s.id, found);

	o = bpf_sk_storage_get(&agentd_origins, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!o) { /* agentd could not tell where it was going */
		COUNT(no_memory);
		return refuse();
	}
	o->captured = s.id;
	o->listener = port;
	o->v4 = v4;
	o->held = found == ABSENT;
	o->unknown = s.kind == WATCHED;
	ask_process(o);
	if (ask_socket(ctx, sk, o)) /* still bound to its interface: it would hang */
		return refuse();
	if (o->held)
		COUNT(held);
	if (o->held || o->unknown)
		want(ctx, o);
	*origin = o;
	return port;
}

SEC("cgroup/connect4")
int agentd_connect4(struct bpf_sock_addr *ctx)
{
	struct origin *o;
	__u32 port = redirect(ctx, 1, &o);

	if (DECIDED(port))
		return port;
	o->dest[0] = 0;
	o->dest[1] = 0;
	o->dest[2] = V4MAPPED;
	o->dest[3] = ctx->user_ip4;
	o->dest_port = bpf_ntohs((__u16)ctx->user_port);
	COUNT(redirected);
	SET(ctx->user_ip4, bpf_htonl(0x7f000001));
	SET(ctx->user_port, bpf_htons(port));
	return ALLOW;
}

SEC("cgroup/connect6")
int agentd_connect6(struct bpf_sock_addr *ctx)
{
	int v4 = !ctx->user_ip6[0] && !ctx->user_ip6[1] && ctx->user_ip6[2] == V4MAPPED;
	struct origin *o;
	__u32 port = redirect(ctx, v4, &o);

	if (DECIDED(port))
		return port;
	o->dest[0] = ctx->user_ip6[0];
	o->dest[1] = ctx->user_ip6[1];
	o->dest[2] = ctx->user_ip6[2];
	o->dest[3] = ctx->user_ip6[3];
	o->dest_port = bpf_ntohs((__u16)ctx->user_port);
	COUNT(redirected);
	if (v4) {
		SET(ctx->user_ip6[3], bpf_htonl(0x7f000001)); /* ::ffff: stays */
	} else {
		SET(ctx->user_ip6[0], 0);
		SET(ctx->user_ip6[1], 0);
		SET(ctx->user_ip6[2], 0);
		SET(ctx->user_ip6[3], bpf_htonl(1));
	}
	SET(ctx->user_port, bpf_htons(port));
	return ALLOW;
}
