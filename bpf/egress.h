/* The second line: what leaves a socket of a captured workload without having
 * passed the other hooks is dropped here, by where its socket was made. It is
 * also where the connections wait that are held. */
#pragma once

#include "datagram.h"
#include "listener.h"
#include "maps.h"
#include "packet.h"
#include "workload.h"

#define LOOPBACK_IFINDEX 1 /* in every network namespace */
#define KEEP 1
#define DROP 0	    /* the sender is told EPERM */
#define DROP_LOST 2 /* as if it were lost on the way */

/* to_agentd reports whether a packet of a redirected connection goes to agentd:
 * over loopback, to a loopback address. A source route (IP_OPTIONS, IPV6_RTHDR)
 * puts another address into it, which any process may ask for; rules and routes
 * of the workload's own may do so too, also later. */
static __always_inline int to_agentd(struct __sk_buff *skb, struct origin *o)
{
	__u32 addr[4];

	if (skb->ifindex != LOOPBACK_IFINDEX)
		return 0;
	if (o->v4)
		return !bpf_skb_load_bytes(skb, 16, addr, 4) && addr[0] == bpf_htonl(0x7f000001);
	return !bpf_skb_load_bytes(skb, 24, addr, 16) && !addr[0] && !addr[1] && !addr[2] && addr[3] == bpf_htonl(1);
}

/* syn decides on the SYN of a connection, each time it is sent. */
static __always_inline int syn(struct __sk_buff *skb, struct bpf_sock *sk, struct origin *o)
{
	struct standing s = {};

	if (o) {
		if (!o->held)
			return KEEP;
		if (ours(skb, o->listener, o->v4) != READY)
			return DROP;
		o->held = 0;
		return KEEP;
	}
	if (tag_of(sk) == PASSED || own(sk))
		return KEEP;
	stand_packet(&s, skb);
	if (s.kind != CAPTURED && s.kind != WATCHED)
		return KEEP;
	if (s.kind == WATCHED && unknown_may(s.id) == ALLOW_UNKNOWN)
		return KEEP;
	COUNT(packets);
	return DROP;
}

/* datagram decides on everything that is not TCP's. What a workload sends that
 * is not decided on is lost: it may turn out to be free, and then it sends
 * again. */
static __always_inline int datagram(struct __sk_buff *skb, struct bpf_sock *sk)
{
	int captured = tag_of(sk) == TAKEN;
	struct standing s = {};
	int held = 0;

	stand_packet(&s, skb);
	if (s.kind == WATCHED) {
		enum unknown may = unknown_may(s.id);

		if (may == ALLOW_UNKNOWN)
			return KEEP;
		captured = 1;
		held = may == HOLD_UNKNOWN;
	}
	if (s.kind != CAPTURED && !captured)
		return KEEP;
	if (sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP && to_listed(skb))
		return KEEP;
	COUNT(packets);
	return held ? DROP_LOST : DROP;
}

SEC("cgroup_skb/egress")
int agentd_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct origin *o;

	if (!sk)
		return KEEP;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return KEEP;
	if (sk->type != SOCK_STREAM || sk->protocol != IPPROTO_TCP)
		return datagram(skb, sk);
	o = bpf_sk_storage_get(&agentd_origins, sk, 0, 0);
	if (o && !to_agentd(skb, o)) {
		COUNT(packets);
		return DROP;
	}
	return sk->state == BPF_TCP_SYN_SENT ? syn(skb, sk, o) : KEEP;
}
