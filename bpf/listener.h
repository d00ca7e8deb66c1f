/* Whether agentd is there to take a connection. */
#pragma once

#include "maps.h"

/* A daemon that has not said for this long that it is alive is hung. */
#define HUNG_NS (10ULL * 1000 * 1000 * 1000)

static __always_inline struct daemon *running(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&agentd_daemon, &zero);
}

/* tagged reports whether sk is a listener of the running agentd. */
static __always_inline int tagged(struct bpf_sock *sk, struct daemon *d)
{
	__u64 *tag = bpf_sk_storage_get(&agentd_tags, sk, 0, 0);

	return tag && *tag && *tag == d->nonce;
}

/* What a look at the listener finds. */
enum listener { READY, MISSING, SQUATTER, HUNG };

/* prove looks the listener on port up as a packet would: it must be there,
 * ours, and its agentd alive. */
static __always_inline enum listener prove(struct bpf_sock_addr *ctx, __u16 port, int v4)
{
	struct bpf_sock_tuple tuple = {};
	struct daemon *d = running();
	struct bpf_sock *sk;
	int ours;

	if (!port || !d)
		return MISSING;
	if (v4) {
		tuple.ipv4.daddr = bpf_htonl(0x7f000001);
		tuple.ipv4.dport = bpf_htons(port);
		sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv6.daddr[3] = bpf_htonl(1);
		tuple.ipv6.dport = bpf_htons(port);
		sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return MISSING;
	ours = tagged(sk, d);
	bpf_sk_release(sk);
	if (!ours)
		return SQUATTER;
	return bpf_ktime_get_ns() - d->beat > HUNG_NS ? HUNG : READY;
}
