/* SPDX-License-Identifier: Apache-2.0 */
/* Why a connection was refused: the bastion is asked about the very channel, and its reason is said. */
#pragma once

#include "tunnel/run/resolve.h"

typedef struct why why_t;

/* A channel that was refused. */
typedef struct why_refused {
  route_t *route;
  bool own_target;  /* it came by SOCKS with a target of its own; else the route's */
  const char *host; /* as it was asked for */
  uint16_t port;
  uint32_t nth;      /* of the channels in this session */
  const char *error; /* libssh's text of the refusal */
  bool unclear;      /* it may be another's */
  int fd;            /* speaks SOCKS, is answered, and closed; -1: none */
} why_refused_t;

/* resolve must live as long. NULL when out of memory. */
why_t *why_new(const resolve_t *resolve);
/* After the session: nothing is asked any more. NULL allowed. */
void why_free(why_t *why);
/* Takes over refused->fd. */
void why_ask(why_t *why, const why_refused_t *refused);
