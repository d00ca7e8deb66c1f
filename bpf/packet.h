/* What a packet says of itself. It may have been rewritten since its socket was
 * asked: tc, nftables and routes of the workload's own are on its way. */
#pragma once

#include "maps.h"

#define TCP_SYN 0x02
#define TCP_ACK 0x10

struct packet {
	__u32 to[4]; /* as in struct origin */
	__u32 at;    /* where what follows the IP header begins */
	__u32 end;
	__u8 protocol; /* what follows it */
	__u8 v4;
};

static __always_inline int listed(__u16 port)
{
	return bpf_map_lookup_elem(&agentd_udp, &port) != 0;
}

static __always_inline long load(struct __sk_buff *skb, __u32 at, void *to, __u32 size)
{
	return bpf_skb_load_bytes_relative(skb, at, to, size, BPF_HDR_START_NET);
}

/* read_packet returns 0 unless a packet is not IP, or not the first part of
 * one. IPv6 with more headers has the first of them as its protocol. */
static __always_inline int read_packet(struct __sk_buff *skb, struct packet *p)
{
	__u16 length, fragment;
	__u8 first;

	if (load(skb, 0, &first, 1))
		return -1;
	if (first >> 4 == 4) {
		if (load(skb, 2, &length, 2) || load(skb, 6, &fragment, 2) || load(skb, 9, &p->protocol, 1) ||
		    load(skb, 16, &p->to[3], 4) || fragment & bpf_htons(0x1fff))
			return -1;
		p->to[2] = V4MAPPED;
		p->v4 = 1;
		p->at = (first & 0xf) * 4;
		p->end = bpf_ntohs(length);
		return 0;
	}
	if (first >> 4 != 6 || load(skb, 4, &length, 2) || load(skb, 6, &p->protocol, 1) || load(skb, 24, p->to, 16))
		return -1;
	p->at = 40;
	p->end = 40 + bpf_ntohs(length);
	return 0;
}

/* to_listed reports whether a packet is UDP to a port that is listed. */
static __always_inline int to_listed(struct __sk_buff *skb)
{
	struct packet p = {};
	__u16 port;

	if (read_packet(skb, &p) || p.protocol != IPPROTO_UDP || load(skb, p.at + 2, &port, 2))
		return 0;
	return listed(bpf_ntohs(port));
}
