/* getpeername() and getsockname(): a redirected socket shows the address it
 * asked for and the local address of the connection agentd made for it. */
#pragma once

#include "connect.h"
#include "maps.h"

/* origin_of returns the origin of a redirected socket, NULL for any other. */
static __always_inline struct origin *origin_of(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct origin *o;
	struct flow f = {};

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&agentd_origins, sk, 0, 0);
	if (o || ctx->protocol != IPPROTO_MPTCP)
		return o;
	/* The subflow that connected has the origin; this is its parent. */
	f.netns = bpf_get_netns_cookie(ctx);
	f.client_port = sk->src_port;
	f.listener = bpf_ntohs(sk->dst_port);
	f.client[2] = V4MAPPED;
	f.client[3] = sk->src_ip4;
	o = bpf_map_lookup_elem(&agentd_mptcp, &f);
	if (o || sk->family != AF_INET6)
		return o;
	f.client[0] = sk->src_ip6[0];
	f.client[1] = sk->src_ip6[1];
	f.client[2] = sk->src_ip6[2];
	f.client[3] = sk->src_ip6[3];
	return bpf_map_lookup_elem(&agentd_mptcp, &f);
}

static __always_inline struct local *local_of(struct bpf_sock_addr *ctx)
{
	struct origin *o = origin_of(ctx);
	struct local *l;

	if (!o)
		return 0;
	l = bpf_map_lookup_elem(&agentd_locals, &o->connection);
	return l && l->port ? l : 0;
}

static __always_inline void show4(struct bpf_sock_addr *ctx, __u32 *addr, __u16 port)
{
	SET(ctx->user_ip4, addr[3]);
	SET(ctx->user_port, bpf_htons(port));
}

static __always_inline void show6(struct bpf_sock_addr *ctx, __u32 *addr, __u16 port)
{
	SET(ctx->user_ip6[0], addr[0]);
	SET(ctx->user_ip6[1], addr[1]);
	SET(ctx->user_ip6[2], addr[2]);
	SET(ctx->user_ip6[3], addr[3]);
	SET(ctx->user_port, bpf_htons(port));
}

SEC("cgroup/getpeername4")
int agentd_peer4(struct bpf_sock_addr *ctx)
{
	struct origin *o = origin_of(ctx);

	if (o)
		show4(ctx, o->dest, o->dest_port);
	return ALLOW;
}

SEC("cgroup/getpeername6")
int agentd_peer6(struct bpf_sock_addr *ctx)
{
	struct origin *o = origin_of(ctx);

	if (o)
		show6(ctx, o->dest, o->dest_port);
	return ALLOW;
}

SEC("cgroup/getsockname4")
int agentd_name4(struct bpf_sock_addr *ctx)
{
	struct local *l = local_of(ctx);

	if (l)
		show4(ctx, l->addr, l->port);
	return ALLOW;
}

SEC("cgroup/getsockname6")
int agentd_name6(struct bpf_sock_addr *ctx)
{
	struct local *l = local_of(ctx);

	if (l)
		show6(ctx, l->addr, l->port);
	return ALLOW;
}
