//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Strict mode: the host's end of a workload's cable. Packet sockets and the
 * like write to a device without any cgroup's hook being asked; here their
 * packets still carry the socket they were sent through. An object of its own:
 * Linux has tcx since 6.6. */
#include "listener.h"
#include "maps.h"
#include "packet.h"
#include "workload.h"

#define NEXT (-1) /* TCX_NEXT: whoever else is attached decides */
#define SHOT 2	  /* TCX_DROP */

#define ETH_P_ARP 0x0806
#define MAX_ARP 64	   /* with its frame; one that is longer is none */
#define MAX_NEIGHBOUR 256 /* the same of IPv6, with what it has joined */
#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMPV6 58
#define IPPROTO_NOTHING 255 /* reserved */

/* as_connected reports whether a packet of a TCP socket goes where that is
 * connected to: who may change the workload's network could rewrite it on its
 * way, and have it come to others. */
static __always_inline int as_connected(struct packet *p, struct bpf_sock *sk)
{
	/* Read at its fixed offset each, as in flow_of (sockops.h). */
	__u32 ip4 = *(volatile __u32 *)&sk->dst_ip4;
	__u32 ip6 = *(volatile __u32 *)&sk->dst_ip6[3];

	if (p->protocol != IPPROTO_TCP)
		return 0;
	if (p->v4)
		return p->to[3] == ip4;
	return p->to[0] == sk->dst_ip6[0] && p->to[1] == sk->dst_ip6[1] && p->to[2] == sk->dst_ip6[2] && p->to[3] == ip6;
}

/* to_port is the same for the port. */
static __always_inline int to_port(struct __sk_buff *skb, struct packet *p, struct bpf_sock *sk)
{
	__u16 port;

	return !load(skb, p->at + 2, &port, 2) && port == sk->dst_port;
}

/* opens reports whether a packet of TCP asks for a connection. */
static __always_inline int opens(struct __sk_buff *skb, struct packet *p)
{
	__u8 flags;

	return load(skb, p->at + 13, &flags, 1) || (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* terse reports whether a packet that the kernel itself has made is one that
 * the network needs and that carries nobody's words: TCP without data, and how
 * IPv6 finds its neighbours. An answer to a ping does carry some, which who may
 * have a packet socket can have sent to whom he likes: it asks in another's
 * name, over loopback. So do errors of ICMP. */
static __always_inline int terse(struct __sk_buff *skb, struct packet *p)
{
	__u8 byte;

	if (p->protocol == IPPROTO_TCP)
		return !opens(skb, p) && !load(skb, p->at + 12, &byte, 1) && p->at + (byte >> 4) * 4 == p->end;
	if (p->protocol == IPPROTO_HOPOPTS) { /* of multicast listeners */
		if (load(skb, p->at, &p->protocol, 1) || load(skb, p->at + 1, &byte, 1) || byte)
			return 0;
		p->at += 8;
	}
	if (p->protocol != IPPROTO_ICMPV6 || load(skb, p->at, &byte, 1))
		return 0;
	return p->end <= MAX_NEIGHBOUR && ((byte >= 131 && byte <= 136) || byte == 143);
}

/* stream decides on a packet of a TCP socket that is not agentd's. */
static __always_inline int stream(struct __sk_buff *skb, struct packet *p, struct bpf_sock *sk)
{
	struct standing s = {};

	stand_packet(&s, skb);
	if (bpf_sk_storage_get(&agentd_origins, sk, 0, 0))
		return SHOT; /* it was sent to agentd, over loopback */
	if (s.kind != CAPTURED)
		return NEXT;
	if (sk->state == BPF_TCP_SYN_SENT || p->protocol != IPPROTO_TCP || opens(skb, p))
		return SHOT;
	/* It was there before, or somebody has connected to it. */
	return as_connected(p, sk) && to_port(skb, p, sk) ? NEXT : SHOT;
}

/* from_socket decides on a packet by the socket it was sent through, and by
 * what it is by now. */
static __always_inline int from_socket(struct __sk_buff *skb, struct packet *p, struct bpf_sock *sk)
{
	struct standing s = {};
	__u64 tag = tag_of(sk);

	if (own(sk))
		return as_connected(p, sk) && to_port(skb, p, sk) ? NEXT : SHOT;
	if (tag == PASSED)
		return NEXT;
	if (sk->family != AF_INET && sk->family != AF_INET6)
		return SHOT;
	if (sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP)
		return stream(skb, p, sk);
	stand_packet(&s, skb);
	if (sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP)
		return (s.kind != CAPTURED && tag != TAKEN) || to_listed(skb) ? NEXT : SHOT;
	if (s.kind == CAPTURED)
		return SHOT;
	/* The kernel's own sockets are raw ones too, and their cgroup is that of
	 * who made the network namespace. */
	return sk->type != SOCK_RAW || terse(skb, p) ? NEXT : SHOT;
}

/* Fails closed: a packet that nothing here can say the origin of is dropped. It
 * was forwarded from a namespace behind the workload's own, or made by a
 * program that the workload has attached. */
SEC("tcx/ingress")
int agentd_strict(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct packet p = {};
	int verdict;

	if (!sk)
		verdict = skb->protocol == bpf_htons(ETH_P_ARP) && skb->len <= MAX_ARP ? NEXT : SHOT;
	else {
		if (read_packet(skb, &p))
			p.protocol = IPPROTO_NOTHING; /* that a captured workload may send */
		sk = bpf_sk_fullsock(sk);
		if (sk)
			verdict = from_socket(skb, &p, sk);
		else /* a handshake or the end of a connection, by the kernel */
			verdict = terse(skb, &p) ? NEXT : SHOT;
	}
	if (verdict == SHOT)
		COUNT(packets);
	return verdict;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
