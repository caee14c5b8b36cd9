/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker's own files share: worker.c (life and messages), worker_auth.c (signing in), worker_open.c
 * (channels). */
#pragma once

#include <libssh/callbacks.h>
#include <libssh/server.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "bastion/contract/msg.h"
#include "bastion/worker/worker_pair.h"
#include "common/ssh/ssh_pump.h"

enum {
  WORKER_CHANNELS_CAP = 1024,      /* whatever the broker's limit says */
  WORKER_CONTROLS_MAX = 4,         /* session channels at once */
  WORKER_CONTROL_PENDING_MAX = 16, /* questions of one smpl-control channel that wait for their answers */
  WORKER_AUTH_QUEUE_MAX = 8,       /* login requests that wait behind the one the broker has */
  WORKER_NOTES_MAX = 64,           /* refusals told to the broker; a peer that makes more is cut off */
  WORKER_FULL_NOTES_MAX =
      16,                  /* of them for connections above the limit; more go unsaid, and cut nobody off */
  WORKER_START_MS = 10000, /* for the broker's first message */
  WORKER_EVENTS_MS = 100,  /* between the event that tells of the end and the disconnect */
  WORKER_LAST_WORDS_MS = 500, /* to get the disconnect message out */
};

/* A login request. */
typedef struct worker_login {
  ssh_message message;
  bool verified; /* the broker called its signature good */
} worker_login_t;

/* A direct-tcpip channel that the broker has not answered for yet. */
typedef struct worker_open {
  struct worker_open *next;
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
  struct worker_control *next;
  ssh_channel ssh;
  ssh_pump_channel_t *channel;
  uint32_t number;
  unsigned pending;
  bool speaks;
  bool peer_ended;
} worker_control_t;

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
  worker_open_t *opens;
  size_t open_count;
  worker_control_t *controls;
  size_t control_count;
  uint32_t control_number;
  uint64_t traffic_at; /* when MSG_TRAFFIC is due */
} worker_t;

/* worker.c */

/* Says why to broker and client, and ends the process. text may be NULL: the reason's own. */
noreturn void worker_end(worker_t *w, reason_t reason, const char *text);
/* Something refused here. what is for the audit; hostile bytes in it are escaped. */
void worker_note(worker_t *w, reason_t reason, const char *what);

/* Handles all that libssh has queued of the peer's requests. */
void worker_drain_peer(worker_t *w);

/* worker_auth.c */

/* Takes the message over. */
void worker_auth_request(worker_t *w, ssh_message message);
void worker_auth_answer(worker_t *w, const msg_t *m);

/* worker_open.c */

/* Each takes the message over. */
void worker_open_channel(worker_t *w, ssh_message message);
void worker_channel_request(worker_t *w, ssh_message message);
/* Takes fd over (-1: none came). */
void worker_open_answer(worker_t *w, const msg_t *m, int fd);
void worker_control_answer(worker_t *w, const msg_t *m);
void worker_tell_traffic(worker_t *w);
