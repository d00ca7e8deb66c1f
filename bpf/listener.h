/* Whether agentd is there to take a connection. */
#pragma once

#include "maps.h"
#include "workload.h"

/* A daemon that has not said for this long that it is alive is hung. */
#define HUNG_NS (3ULL * 1000 * 1000 * 1000)

static __always_inline struct daemon *running(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&agentd_daemon, &zero);
}

static __always_inline int hung(struct daemon *d)
{
	return bpf_ktime_get_ns() - d->beat > HUNG_NS;
}

/* own reports whether sk is a socket of the running agentd. */
static __always_inline int own(void *sk)
{
	struct daemon *d = running();
	__u64 tag = tag_of(sk);

	return d && tag && tag == d->nonce;
}

/* What a look at the listener finds. ABSENT: agentd has not listened in this
 * network namespace yet. MISSING: it is not there any more. UNSERVED: it does
 * not listen for this family, which was not there. */
enum listener { READY, ABSENT, MISSING, UNSERVED, SQUATTER, HUNG };

/* ours reports whether the socket that a connection to a loopback port would
 * reach is agentd's listener, by looking it up as a packet would. */
static __always_inline enum listener ours(void *ctx, __u16 port, int v4)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	int found;

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
	found = own(sk);
	bpf_sk_release(sk);
	return found ? READY : SQUATTER;
}

/* prove finds out whether agentd would take a connection in this network
 * namespace, and on which port. Where it does not listen yet, that is the port
 * it will listen on. */
static __always_inline enum listener prove(struct bpf_sock_addr *ctx, int v4, __u16 *port)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct daemon *d = running();
	struct ports *ports;
	enum listener found;

	if (!d || !d->nonce)
		return MISSING;
	ports = bpf_map_lookup_elem(&agentd_ports, &netns);
	if (!ports) {
		*port = d->hold;
		return hung(d) ? HUNG : ABSENT;
	}
	*port = v4 ? ports->v4 : ports->v6;
	found = *port ? ours(ctx, *port, v4) : UNSERVED;
	if ((found == READY || found == UNSERVED) && hung(d))
		return HUNG;
	return found;
}
