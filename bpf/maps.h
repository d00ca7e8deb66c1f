/* What the programs remember, and what agentd tells them. */
#pragma once

#include "kernel.h"

/* What happens to a captured connection while agentd is not there. */
enum down { REFUSE_DOWN, BYPASS_DOWN };

/* How a cgroup stands, and with it all below that has no entry of its own. */
enum kind {
	CAPTURED = 1,
	FREE,	 /* decided: not captured */
	WATCHED, /* what is below is unknown until agentd has decided on it */
};

/* What may happen before agentd has decided on a cgroup. */
enum unknown { HOLD_UNKNOWN, DENY_UNKNOWN, ALLOW_UNKNOWN };

/* A cgroup that agentd has decided on. The name is for the next agentd after
 * a crash. */
struct workload {
	enum kind kind;
	enum down down;
	enum unknown unknown; /* of a watched one */
	__u8 source[12];
	__u8 name[64];
};

/* The cgroups decided on, by id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct workload);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_workload SEC(".maps");

/* The UDP ports that captured workloads may send to, host order. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, __u8);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_udp SEC(".maps");

/* The loopback ports agentd listens on in a network namespace, host order. 0:
 * it does not listen for that family. */
struct ports {
	__u16 v4;
	__u16 v6;
};

/* The listeners, by netns cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct ports);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_ports SEC(".maps");

/* What a tag other than agentd's nonce says of a socket. */
#define PASSED 1 /* its connection was let past agentd on purpose */
#define TAKEN 2	 /* a captured task connected it: it is treated as captured */

/* Marks agentd's own sockets, listeners and those it dials with, with its
 * nonce. Only who holds the socket and the map can put it there. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__type(key, int);
	__type(value, __u64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_tags SEC(".maps");

/* What the running agentd says of itself. */
struct daemon {
	__u64 nonce; /* what its sockets are tagged with; 0: there is none */
	__u64 beat;  /* CLOCK_MONOTONIC when it last said that it is alive, ns */
	__u16 hold;  /* port it will listen on, where it can, in a namespace
		      * that it does not listen in yet; host order */
	__u16 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct daemon);
	__uint(max_entries, 1);
} agentd_daemon SEC(".maps");

/* One connection of one socket, which may connect again. */
struct connection {
	__u64 cookie; /* of the socket */
	__u64 at;     /* CLOCK_MONOTONIC of the connect, ns */
};

/* Where a redirected connection was going and who made it. Addresses are in
 * network order, IPv4 as ::ffff:a.b.c.d; ports are in host order. */
struct origin {
	struct connection connection;
	__u64 start;	/* of the process, ns since boot */
	__u64 cgroup;	/* the process runs in */
	__u64 captured; /* cgroup that made it a captured connection */
	__u32 dest[4];
	__u32 bound[4]; /* local address the socket was bound to; zero if none */
	__u32 tgid;
	__u32 uid;
	__u32 ifindex; /* the socket was bound to; 0 if none */
	__u16 dest_port;
	__u16 listener; /* port it was sent to */
	__u8 v4;	/* it was sent to 127.0.0.1, else to ::1 */
	__u8 mptcp;
	__u8 held;	/* its SYN waits for the listener */
	__u8 unknown;	/* nobody had decided on its cgroup */
	__u8 comm[16];
	__u32 pad;
};

/* A connection that waits for agentd to listen in its network namespace, or to
 * decide on its cgroup. */
struct want {
	__u64 netns;
	__u64 cgroup;	/* the task is in */
	__u64 captured; /* cgroup that made it a captured or unknown connection */
	__u32 tid;
	__u32 unknown;
};

/* What agentd has to see to at once. If it is full, the connection waits for
 * the next attempt, or in vain. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__type(value, struct want);
	__uint(max_entries, 1 << 18);
} agentd_wants SEC(".maps");

/* The origin of each redirected socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__type(key, int);
	__type(value, struct origin);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_origins SEC(".maps");

/* A connection as agentd sees it when it accepts it. */
struct flow {
	__u64 netns;
	__u32 client[4];
	__u16 client_port;
	__u16 listener;
	__u32 pad;
};

/* The origin of each redirected connection until agentd has accepted it. Not
 * an LRU: what no longer fits is refused, what is there is not forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow);
	__type(value, struct origin);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_flows SEC(".maps");

/* The origin of each redirected MPTCP connection until it is closed: its
 * owner's view is another socket than the one that connects. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow);
	__type(value, struct origin);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_mptcp SEC(".maps");

/* An address to show in place of a socket's own. */
struct local {
	__u32 addr[4];
	__u16 port; /* host order; 0: not known (yet) */
	__u16 pad;
};

/* The local address of the connection agentd made for each redirected one.
 * An entry lives as long as that one. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct connection);
	__type(value, struct local);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} agentd_locals SEC(".maps");

/* What became of the connections of captured workloads. */
struct outcomes {
	__u64 redirected;
	__u64 bypassed;
	__u64 no_listener; /* this and the rest of the failures: refused, or bypassed */
	__u64 squatter;
	__u64 hung;
	__u64 no_memory;
	__u64 too_deep;
	__u64 flow_lost;
	__u64 held;
	__u64 unknown_denied;
	__u64 unknown_allowed;
	__u64 datagrams; /* refused */
	__u64 sockets;	 /* that may not be made */
	__u64 packets;	 /* dropped: of connections and datagrams that passed no other hook */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct outcomes);
	__uint(max_entries, 1);
} agentd_outcome SEC(".maps");

#define COUNT(outcome)                                                         \
	do {                                                                   \
		__u32 zero = 0;                                                \
		struct outcomes *n =                                           \
			bpf_map_lookup_elem(&agentd_outcome, &zero);           \
		if (n)                                                         \
			n->outcome++;                                          \
	} while (0)
