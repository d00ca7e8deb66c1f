/* DNS answers that come to captured workloads are shown to agentd, so that it
 * knows by which name they asked for an address. Nothing is changed or held
 * up: what cannot be shown passes unseen. */
#pragma once

#include "egress.h"
#include "maps.h"

#define DNS_PORT 53
#define IPV6_HEADER 40
#define UDP_HEADER 8
#define MAX_ANSWER 1500
#define MAX_RECORD (sizeof(struct answer) + MAX_ANSWER)

/* A DNS message that came to a socket of a captured workload; the message, as
 * much of it as is copied, follows. */
struct answer {
	__u64 at; /* CLOCK_MONOTONIC when it came, ns */
	__u64 netns;
	__u64 cgroup;	/* the socket was made in */
	__u64 captured; /* cgroup that makes it a captured workload's */
	__u32 from[4];	/* in network order, IPv4 as ::ffff:a.b.c.d */
	__u32 length;	/* of the whole message */
	__u32 pad;
};

/* The answers that agentd has not heard yet. If it is full, further ones are
 * not heard: names are to be shown, nothing is decided by them. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__type(value, struct answer);
	__uint(max_entries, 1 << 20);
} agentd_answers SEC(".maps");

/* Where one is put together. Packets come with softirqs off, so that no other
 * program on this CPU comes between. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__uint(value_size, MAX_RECORD);
	__uint(max_entries, 1);
} agentd_scratch SEC(".maps");

/* netns_of returns the cookie of a socket's network namespace. Programs like
 * this one have no helper for it before Linux 6.13, and for IPv4 none to see a
 * UDP socket as the kernel's; what they may do is read memory at an address. */
static __always_inline __u64 netns_of(struct bpf_sock *sk)
{
	struct sock *s;

	if (bpf_probe_read_kernel(&s, sizeof(s), &sk))
		return 0;
	return BPF_CORE_READ(s, __sk_common.skc_net.net, net_cookie);
}

/* udp_at returns where the UDP header of a packet is, 0 if it has none or
 * not where it is usual. *from is its source, IPv4 as ::ffff:a.b.c.d. */
static __always_inline __u32 udp_at(struct __sk_buff *skb, __u32 *from)
{
	__u8 first, protocol;

	if (bpf_skb_load_bytes(skb, 0, &first, 1))
		return 0;
	if (first >> 4 == 4) {
		if (bpf_skb_load_bytes(skb, 9, &protocol, 1) || protocol != IPPROTO_UDP)
			return 0;
		from[2] = V4MAPPED;
		if (bpf_skb_load_bytes(skb, 12, &from[3], 4))
			return 0;
		return (first & 0xf) * 4;
	}
	if (bpf_skb_load_bytes(skb, 6, &protocol, 1) || protocol != IPPROTO_UDP)
		return 0;
	return bpf_skb_load_bytes(skb, 8, from, 16) ? 0 : IPV6_HEADER;
}

/* show copies the message at offset at of a packet for agentd. */
static __always_inline void show(struct __sk_buff *skb, struct answer *about, __u32 at)
{
	__u32 zero = 0;
	__u64 more = about->length - 1; /* than one byte */
	struct answer *a = bpf_map_lookup_elem(&agentd_scratch, &zero);

	if (!a || !about->length)
		return;
	*a = *about;
	/* Linux before 6.8 does not learn from a comparison that a number is not
	 * 0; and clang would bound another register than the one that is used. */
	asm volatile("" : "+r"(more));
	if (more >= MAX_ANSWER)
		more = MAX_ANSWER - 1;
	if (bpf_skb_load_bytes(skb, at, a + 1, more + 1))
		return;
	bpf_ringbuf_output(&agentd_answers, a, sizeof(*a) + more + 1, 0);
}

SEC("cgroup_skb/ingress")
int agentd_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct standing s = {};
	struct answer a = {};
	__u32 at;
	__u16 port;

	if (!sk)
		return KEEP;
	at = udp_at(skb, a.from);
	if (!at || bpf_skb_load_bytes(skb, at, &port, 2) || port != bpf_htons(DNS_PORT))
		return KEEP;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_UDP) /* else a raw socket's copy */
		return KEEP;
	stand_packet(&s, skb);
	at += UDP_HEADER;
	if (s.kind != CAPTURED || skb->len < at)
		return KEEP;
	a.captured = s.id;
	a.at = bpf_ktime_get_ns();
	a.cgroup = bpf_skb_cgroup_id(skb);
	a.netns = netns_of(sk);
	a.length = skb->len - at;
	show(skb, &a, at);
	return KEEP;
}
