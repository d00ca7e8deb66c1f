/* What a captured workload may send without a connection: UDP to the ports
 * that are listed, and nothing else but TCP. */
#pragma once

#include "maps.h"
#include "packet.h"
#include "workload.h"

#define DENY 0 /* EPERM */

/* bound reports whether the calling task is held to the rules for captured
 * workloads. One that is not decided on is not: what it sends is lost, by where
 * its socket was made (egress.h). */
static __always_inline int bound(void)
{
	struct standing s = {};

	stand_task(&s);
	return s.kind == CAPTURED || (s.kind == WATCHED && unknown_may(s.id) == DENY_UNKNOWN);
}

SEC("cgroup/sock_create")
int agentd_socket(struct bpf_sock *ctx)
{
	if (ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP))
		return 1;
	if (ctx->type == SOCK_DGRAM && ctx->protocol == IPPROTO_UDP)
		return 1;
	if (!bound())
		return 1;
	COUNT(sockets);
	return DENY;
}

static __always_inline int send(struct bpf_sock_addr *ctx)
{
	if (ctx->protocol == IPPROTO_UDP && listed(bpf_ntohs((__u16)ctx->user_port)))
		return 1;
	if (!bound())
		return 1;
	COUNT(datagrams);
	return DENY;
}

SEC("cgroup/sendmsg4")
int agentd_send4(struct bpf_sock_addr *ctx)
{
	return send(ctx);
}

SEC("cgroup/sendmsg6")
int agentd_send6(struct bpf_sock_addr *ctx)
{
	return send(ctx);
}
