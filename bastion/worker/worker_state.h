/* SPDX-License-Identifier: Apache-2.0 */
/* A worker as its own files share it. Who uses whom: worker.c (life, messages) > worker_auth.c (signing in),
 * worker_open.c (forwarded connections) > worker_control.c (smpl-control) > worker_say.c (refusals, the end).
 */
#pragma once

#include <libssh/callbacks.h>
#include <libssh/server.h>
#include <stdbool.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/contract/msg.h"
#include "bastion/worker/worker_pair.h"
#include "common/base/list.h"
#include "common/ssh/ssh_pump.h"

/* A login request. */
typedef struct worker_login {
  ssh_message message;
  bool verified; /* the broker called its signature good */
} worker_login_t;

/* A direct-tcpip channel that the broker has not answered for yet. */
typedef struct worker_open {
  list_t link;
  uint32_t request;
  uint32_t nth; /* as msg_open_t has it */
  ssh_message message;
} worker_open_t;

/* A forwarded connection. */
typedef struct worker_channel {
  struct worker *worker;
  uint32_t number; /* the broker's */
  uint64_t told;   /* bytes of both directions at the last MSG_TRAFFIC */
} worker_channel_t;

/* A session channel; speaks smpl-control once its subsystem has been asked for. */
typedef struct worker_control {
  struct worker *worker;
  list_t link;
  ssh_channel ssh;
  ssh_pump_channel_t *channel;
  uint32_t number;
  unsigned pending;
  bool speaks;
  bool peer_ended;
} worker_control_t;

/* The last event, if no smpl-control channel was there yet. */
typedef struct worker_unheard {
  char *line;     /* NULL: none */
  uint64_t until; /* monotonic ms */
} worker_unheard_t;

typedef struct worker {
  worker_pair_t *pair;
  ssh_session session;
  ssh_pump_t *pump;
  msg_start_t limits;
  bool signed_in;
  uint32_t auth_failures;
  uint32_t probes;
  uint32_t notes;
  uint32_t full_notes;
  uint32_t auth_request;                            /* the broker's pending answer; 0: none */
  worker_login_t auth_queue[WORKER_AUTH_QUEUE_MAX]; /* [0] is with the broker while auth_request is set */
  size_t auth_queued;
  uint32_t asked; /* direct-tcpip channels, ever */
  list_t opens;   /* worker_open_t */
  size_t open_count;
  list_t controls; /* worker_control_t */
  size_t control_count;
  uint32_t control_number;
  worker_unheard_t unheard;
  uint64_t traffic_at; /* when MSG_TRAFFIC is due */
  /* Takes out and handles all that libssh has queued of the peer's requests. */
  void (*drain)(struct worker *w);
} worker_t;
