/* SPDX-License-Identifier: Apache-2.0 */
/* A forward at work: where it listens, where it leads, and what was said of it last. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/local/forward.h"

enum { ROUTE_URL_MAX = 80 }; /* bytes of an address with its port and scheme, with NUL */

typedef struct route {
  const forward_t *forward;
  uint16_t local_port;               /* the one bound; 0: a unix socket, or --stdio */
  uint16_t port;                     /* the target's; 0: not known */
  char name[FORWARD_TARGET_MAX];     /* the target's final one, for people */
  char host[FORWARD_TARGET_MAX + 1]; /* what the bastion is asked to connect to */
  bool checking;                     /* its check before ready is under way, or done */
  bool denied;                       /* by policy, when it was last asked about */
  uint64_t told_at;                  /* when a refusal was last said */
  char told[256];                    /* which */
} route_t;

typedef struct routes {
  route_t items[FORWARDS_MAX];
  size_t count;
} routes_t;

/* The routes of these forwards, which must live as long. */
void routes_init(routes_t *routes, const forward_t *forwards, size_t count);
/* The local end's host: "localhost", "127.0.0.2", "::1". Returns buf. */
char *route_local_host(const route_t *r, char *buf, size_t cap);
/* "localhost:8080", "[::1]:8080", or the unix socket's path. Returns buf. */
char *route_local(const route_t *r, char *buf, size_t cap);
/* "http://localhost:8080", "socks5h://..."; "" for a unix socket. Returns buf. */
char *route_url(const route_t *r, char *buf, size_t cap);
/* How its target's port would be given, for a message. Returns buf. */
const char *route_with_port(const route_t *r, bool stdio, char *buf, size_t cap);
