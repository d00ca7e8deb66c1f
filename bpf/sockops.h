/* The life of a redirected connection, from just before its SYN to its close. */
#pragma once

#include "maps.h"

/* flow_of fills f in as agentd's side of the connection will see it. */
static __always_inline void flow_of(struct bpf_sock_ops *ctx, struct origin *o, struct flow *f)
{
	/* Both are read, each at its fixed offset: were this left to the
	 * branches, clang would merge their reads into one that the verifier
	 * rejects. */
	__u32 ip4 = *(volatile __u32 *)&ctx->local_ip4;
	__u32 ip6 = *(volatile __u32 *)&ctx->local_ip6[3];

	f->netns = bpf_get_netns_cookie(ctx);
	if (o->v4) {
		f->client[2] = V4MAPPED;
		f->client[3] = ip4;
	} else {
		f->client[0] = ctx->local_ip6[0];
		f->client[1] = ctx->local_ip6[1];
		f->client[2] = ctx->local_ip6[2];
		f->client[3] = ip6;
	}
	f->client_port = ctx->local_port;
	f->listener = o->listener;
}

static __always_inline __u8 is_mptcp(struct bpf_sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp && bpf_core_field_exists(tcp->is_mptcp) && tcp->is_mptcp;
}

/* A SYN that is held is sent again after this many jiffies, then after twice as
 * many, and so on, HOLD_TIMES times: for some seconds, or, with fewer jiffies
 * to the second, for some tens of them. */
#define HOLD_JIFFIES 10
#define HOLD_TIMES 9

/* opening runs before the SYN leaves, with the local port already chosen, so
 * that the flow is there before agentd can accept. Without it agentd refuses
 * the connection. */
static __always_inline void opening(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct origin *o)
{
	struct flow f = {};
	struct local unknown = {};

	flow_of(ctx, o, &f);
	o->mptcp = is_mptcp(sk);
	if (bpf_map_update_elem(&agentd_flows, &f, o, BPF_ANY))
		COUNT(flow_lost);
	if (o->mptcp)
		bpf_map_update_elem(&agentd_mptcp, &f, o, BPF_ANY);
	/* agentd only ever fills an entry that exists, so that none is left
	 * when the client was gone first. No room: the client sees loopback. */
	bpf_map_update_elem(&agentd_locals, &o->connection, &unknown, BPF_ANY);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	if (o->held) {
		int times = HOLD_TIMES;

		bpf_setsockopt(ctx, IPPROTO_TCP, TCP_SYNCNT, &times, sizeof(times));
	}
}

/* closed forgets a connection. The flow of one that was established stays: the
 * client may be done before agentd has accepted, and agentd takes it out. */
static __always_inline void closed(struct bpf_sock_ops *ctx, struct origin *o, __u32 before)
{
	struct flow f = {};

	flow_of(ctx, o, &f);
	if (before == BPF_TCP_SYN_SENT)
		bpf_map_delete_elem(&agentd_flows, &f);
	if (o->mptcp)
		bpf_map_delete_elem(&agentd_mptcp, &f);
	bpf_map_delete_elem(&agentd_locals, &o->connection);
}

/* hold has the first SYN of a held connection sent again soon. */
static __always_inline void hold(struct bpf_sock_ops *ctx, struct origin *o)
{
	if (o->held)
		ctx->reply = HOLD_JIFFIES;
}

SEC("sockops")
int agentd_sockops(struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;
	struct bpf_sock *sk;
	struct origin *o;

	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_STATE_CB && op != BPF_SOCK_OPS_TIMEOUT_INIT)
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;
	o = bpf_sk_storage_get(&agentd_origins, sk, 0, 0);
	if (!o)
		return 1;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		opening(ctx, sk, o);
	else if (op == BPF_SOCK_OPS_TIMEOUT_INIT)
		hold(ctx, o);
	else if (ctx->args[1] == BPF_TCP_CLOSE)
		closed(ctx, o, ctx->args[0]);
	return 1;
}
