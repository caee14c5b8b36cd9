/* SPDX-License-Identifier: Apache-2.0 */
/* What a front and its listeners are made of: for front.c, metrics.c and the tests of the http side. */
#pragma once

#include "app/http/conn.h"

typedef struct front front_t; /* front.h */

typedef struct listener {
  front_t *front;
  conn_listener_t conns;
  uv_tcp_t tcp;
  bool open;
} listener_t;

struct front {
  conn_env_t env;
  listener_t *listeners;
  size_t listener_count;
  reply_date_t date;
  bool drained; /* has no connection any more */
  void (*done)(void *ctx, size_t abandoned);
  void *done_ctx;
  uint64_t lag_deadline, drain_deadline, give_up_deadline;
  uint64_t trim_after;
  uv_timer_t tick;
  uv_prepare_t flush; /* once a round: writes the access log before the loop sleeps */
  size_t handles;     /* uv handles of ours that are not closed yet */
};
