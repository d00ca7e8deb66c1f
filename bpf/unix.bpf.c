//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The sockets of container runtimes, through which a captured workload could
 * have a program started elsewhere. An object of its own: Linux has this hook
 * since 6.7. They are told by their usual names; a workload that is given one
 * under another name is not stopped here. */
#include "maps.h"
#include "workload.h"

#define PATH 108 /* sizeof(sockaddr_un.sun_path), unix(7) */
#define NAME 32

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sockaddr;

struct bpf_sock_addr_kern {
	struct sockaddr *uaddr;
	__u32 uaddrlen;
};

#pragma clang attribute pop

struct name {
	__u8 bytes[NAME];
};

/* The names that are refused: a path's last part, filled up with zeros. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct name);
	__type(value, __u8);
	__uint(max_entries, 256);
} agentd_unix SEC(".maps");

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

struct path {
	__u8 bytes[128];
	struct name last; /* its last part */
	__u32 start;	  /* of that */
};

static long find_last(__u32 i, struct path *p)
{
	__u8 byte = p->bytes[i & 127];

	if (byte == '/')
		p->start = i + 1;
	return !byte;
}

static long copy_last(__u32 i, struct path *p)
{
	__u8 byte = p->bytes[(p->start + i) & 127];

	p->last.bytes[i & (NAME - 1)] = byte;
	return !byte;
}

SEC("cgroup/connect_unix")
int agentd_connect_unix(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_addr_kern *kernel = bpf_cast_to_kern_ctx(ctx);
	struct standing s = {};
	struct path p = {};
	__u32 length;

	stand_task(&s);
	if (s.kind != CAPTURED && (s.kind != WATCHED || unknown_may(s.id) == ALLOW_UNKNOWN))
		return 1;
	/* Two bytes of family come first; what is behind the length is not
	 * the caller's, and the path need not end with a zero. */
	length = kernel->uaddrlen;
	if (length <= 2)
		return 1; /* no path */
	if (length > PATH + 2) /* the kernel refuses it too */
		return 0;
	/* The mask is for the verifier. */
	if (bpf_probe_read_kernel(p.bytes, (length - 2) & 127, (void *)kernel->uaddr + 2))
		return 0;
	bpf_loop(PATH, find_last, &p, 0);
	bpf_loop(NAME, copy_last, &p, 0);
	if (p.bytes[(p.start + NAME) & 127] || !bpf_map_lookup_elem(&agentd_unix, &p.last))
		return 1;
	COUNT(sockets);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
