//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR MIT
/* One object, because its programs share their maps; a file for each concern. */
#include "connect.h"
#include "datagram.h"
#include "dns.h"
#include "egress.h"
#include "names.h"
#include "sockops.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

