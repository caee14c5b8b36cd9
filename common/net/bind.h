/* SPDX-License-Identifier: Apache-2.0 */
/* Binding what listens. At boot an address may come later than the program, and a standby's may be on another
 * machine for now. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "common/base/ip.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78 /* since Linux 4.15; glibc has no name for it */
#endif

enum { BIND_INHERITED_MAX = 64 }; /* listeners that a service manager hands over */

/* As bind(2): 0, or -1 with errno. early: an address that this machine does not have is bound all the same
 * (IP_FREEBIND), and served once it has; say: that is a warning in the log. */
int bind_listener(int fd, const endpoint_t *at, bool early, bool say);
/* The same of a libuv handle; its status. */
int bind_listener_uv(uv_tcp_t *tcp, const endpoint_t *at, bool early);

/* A TCP listener at this very address that a service manager has opened for this process (LISTEN_FDS,
 * sd_listen_fds(3)), or -1. It is the caller's then, nonblocking. At the start alone: later the numbers may
 * be somebody else's. */
int bind_inherited(const endpoint_t *at);

/* Whether this machine has the address now. */
bool bind_is_here(const ip_t *ip);
