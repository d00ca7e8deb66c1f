//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Strict mode: the host's end of a workload's cable. Packet sockets and the
 * like write to a device without any cgroup's hook being asked; here their
 * packets still carry the socket they were sent through. An object of its own:
 * Linux has tcx since 6.6. */
#include "listener.h"
#include "maps.h"
#include "workload.h"

#define NEXT (-1) /* TCX_NEXT: whoever else is attached decides */
#define SHOT 2	  /* TCX_DROP */

#define ETH_P_ARP 0x0806

/* as_dialled reports whether a packet of ours goes where its socket was
 * connected to: who may change the workload's network could rewrite it on its
 * way, and have a stranger answer in the target's name. */
static __always_inline int as_dialled(struct __sk_buff *skb, struct bpf_sock *sk)
{
	__u8 first, header;
	__u32 to[4], at;
	__u16 port;

	if (bpf_skb_load_bytes_relative(skb, 0, &first, 1, BPF_HDR_START_NET))
		return 0;
	if (first >> 4 == 4) {
		at = (first & 0xf) * 4;
		if (bpf_skb_load_bytes_relative(skb, 9, &header, 1, BPF_HDR_START_NET) ||
		    bpf_skb_load_bytes_relative(skb, 16, to, 4, BPF_HDR_START_NET) || to[0] != sk->dst_ip4)
			return 0;
	} else {
		at = 40;
		if (bpf_skb_load_bytes_relative(skb, 6, &header, 1, BPF_HDR_START_NET) ||
		    bpf_skb_load_bytes_relative(skb, 24, to, 16, BPF_HDR_START_NET) ||
		    to[0] != sk->dst_ip6[0] || to[1] != sk->dst_ip6[1] || to[2] != sk->dst_ip6[2] || to[3] != sk->dst_ip6[3])
			return 0;
	}
	return header == IPPROTO_TCP && !bpf_skb_load_bytes_relative(skb, at + 2, &port, 2, BPF_HDR_START_NET) &&
	       port == sk->dst_port;
}

/* from_socket decides on a packet by the socket it was sent through. Those of
 * TCP and UDP have passed egress. The kernel's own sockets are raw ones too,
 * and are not the workload's. */
static __always_inline int from_socket(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct standing s = {};

	if (own(sk))
		return as_dialled(skb, sk) ? NEXT : SHOT;
	if (tag_of(sk) == PASSED)
		return NEXT;
	if (sk->family != AF_INET && sk->family != AF_INET6)
		return SHOT;
	if (sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP && sk->state != BPF_TCP_SYN_SENT)
		return NEXT;
	if (sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP)
		return NEXT;
	stand_packet(&s, skb);
	return s.kind == CAPTURED ? SHOT : NEXT;
}

/* Fails closed: a packet that nothing here can say the origin of is dropped. It
 * was forwarded from a namespace behind the workload's own, or made by a
 * program that the workload has attached. */
SEC("tcx/ingress")
int agentd_strict(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	int verdict;

	if (!sk)
		verdict = skb->protocol == bpf_htons(ETH_P_ARP) ? NEXT : SHOT;
	else if (!(sk = bpf_sk_fullsock(sk)))
		verdict = NEXT; /* a handshake or the end of a connection, by the kernel */
	else
		verdict = from_socket(skb, sk);
	if (verdict == SHOT)
		COUNT(packets);
	return verdict;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
