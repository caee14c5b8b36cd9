/* SPDX-License-Identifier: Apache-2.0 */
/* The local side: listeners, who may connect, SOCKS up to the target's name. New connections are handed up. /
 */
#pragma once

#include <uv.h>

#include "common/base/diag.h"
#include "tunnel/base/say.h"
#include "tunnel/local/forward.h"
#include "tunnel/local/socks.h"

typedef struct local local_t;

typedef struct local_hooks {
  /* Whether one more may come in now. */
  bool (*has_room)(void *ctx);
  /* Somebody has connected to forwards[i]; fd is the callee's. host, port: the target that a SOCKS client has
   * named, who waits for its answer; host NULL: the forward's own. */
  void (*on_connection)(void *ctx, size_t i, int fd, const char *host, uint16_t port);
  void *ctx;
} local_hooks_t;

/* forwards, and what the hooks point to, must live as long. NULL when out of memory. */
local_t *local_new(uv_loop_t *loop, say_t *say, const forward_t *forwards, size_t count, bool any_user,
                   const local_hooks_t *hooks);
/* Binds all ports. What listen_open says. */
int local_bind(local_t *local, diag_t *diag);
/* The port of forwards[i] that was bound; 0: a unix socket. */
uint16_t local_port(const local_t *local, size_t i);
/* Starts or stops accepting. */
void local_listen(local_t *local, bool wanted);
/* Connections that are saying their target. */
size_t local_count(const local_t *local);
/* Closes the ports, and who is saying its target. */
void local_close(local_t *local);
/* After the loop has closed all handles. NULL allowed. */
void local_free(local_t *local);

/* Whoever connected learns at once that it leads nowhere. Takes over fd. */
void local_reset(int fd);
/* What a program that speaks SOCKS is told instead of a connection. Takes over fd. */
void local_refuse_socks(int fd, socks_code_t code);
