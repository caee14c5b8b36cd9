/* SPDX-License-Identifier: Apache-2.0 */
/* A session: the named parts that it is made of, the list of all of them, and its end. What happens in one is
 * in the files beside this: life.h (start, messages, finish), login.h, channel.h, question.h, events.h;
 * sweep.h has the deadlines. One thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bastion/contract/msg.h"
#include "common/ssh/signedreq.h"
#include "bastion/contract/state.h"
#include "bastion/limits.h"
#include "bastion/policy/opening.h"
#include "bastion/session/host.h"
#include "bastion/session/identity.h"
#include "bastion/session/repeats.h"
#include "bastion/spawn/peer.h"
#include "common/base/list.h"

typedef struct session session_t;

/* Bytes that one session can have forwarded each way: the most that a number in a record can say. */
#define SESSION_BYTES_MAX ((uint64_t)INT64_MAX)

/* The process that speaks SSH for the session. */
typedef struct session_worker {
  peer_t *peer;
  hostkeys_t *keys; /* that it was forked with, ours */
  int pid;
  uint32_t walls;
  int exit_status;   /* as waitpid gives it; -1 unknown */
  bool exited;       /* the template has told of its exit, or cannot any more */
  bool gone;         /* the pair is closed at the other end */
  bool crashed;      /* it said so itself */
  bool bye;          /* it said so itself: there is nothing to tell it */
  uint32_t notes;    /* MSG_NOTEs */
  rate_t messages;   /* it sends */
  rate_t signatures; /* of the host key, that it gets */
} session_worker_t;

/* From the connection to the welcome. */
typedef struct session_login {
  door_place_t place;                       /* until it has signed in, or ends */
  uint8_t hash[SIGNEDREQ_SESSION_HASH_MAX]; /* the session id of SSH: the first exchange hash */
  size_t hash_len;
  uint64_t by; /* signed in by then (monotonic ms), or ended */
  uint32_t failures, probes;
  uint32_t refused_keys; /* offered and not on file, or not to be used */
  bool unsigned_told;    /* that a host signature was not given is on record; once */
  bool verified;         /* proof is of a signature that held, and nobody has claimed it yet */
  bool proven;           /* a signature of a key on file held, whatever came of it */
  identity_t proof;
  uint32_t request; /* of the MSG_LOGIN that waits for its welcome */
  char client[MSG_VERSION_MAX];
} session_login_t;

typedef enum channel_state {
  CHANNEL_OPENING,   /* being found and connected */
  CHANNEL_RECORDING, /* connected; its record is on the way to the disk */
  CHANNEL_LIVE,      /* the worker has the descriptor, we keep a duplicate to cut it */
} channel_state_t;

typedef struct channel {
  list_t link;
  session_t *session;
  uint32_t number;
  uint32_t request; /* of the MSG_OPEN */
  uint32_t nth;     /* as it has it */
  channel_state_t state;
  opening_t *opening;
  int fd;
  bool orphan;             /* the session ended while the record was under way */
  char host[MSG_HOST_MAX]; /* as asked, escaped */
  uint16_t port;
  char originator[MSG_HOST_MAX];
  bool is_ip;
  char name[GRANT_NAME_MAX];
  endpoint_t address;
  size_t grant;       /* that it is open by */
  uint64_t hours_end; /* when hours end that, monotonic ms; UINT64_MAX: never */
  uint64_t bytes_up, bytes_down;
  uint64_t opened_at; /* monotonic ms */
} channel_t;

typedef struct refusal {
  uint32_t nth; /* as msg_open_t has it */
  char host[MSG_HOST_MAX];
  uint16_t port;
  reason_t reason;
  uint64_t at; /* wall ms */
} refusal_t;

/* Forwarded connections. */
typedef struct session_traffic {
  list_t channels; /* channel_t, the newest first */
  size_t count;
  uint32_t number; /* of the last one */
  uint64_t opened; /* ever */
  uint64_t bytes_up, bytes_down;
  refusal_t refusals[SESSION_REFUSALS_MAX];
  size_t refusal_count; /* ever; the newest is at (count - 1) % MAX */
} session_traffic_t;

/* Questions of smpl-control that wait. */
typedef struct session_questions {
  list_t list;
  size_t count;
  rate_t rate;
} session_questions_t;

/* Monotonic ms. */
typedef struct session_times {
  uint64_t opened_at, active_at;
} session_times_t;

/* What a client has been told of an end that comes near (events.h). */
typedef struct session_warning {
  bool given;
  bool again;      /* given before: the next one comes later, so that short limits do not warn without end */
  uint64_t lowest; /* ms that were left at least since it was given */
} session_warning_t;

/* In force now (terms.h). */
typedef struct session_limits {
  uint64_t idle_ms, session_ms;
  uint64_t hours_end; /* when a grant's hours end it, monotonic ms; UINT64_MAX: never */
  session_warning_t warning;
} session_limits_t;

typedef struct session_ending {
  reason_t reason;
  char text[MSG_TEXT_MAX];
  uint64_t by;   /* finished by then (monotonic ms) whatever the worker does. Set once, never moved */
  bool swept;    /* the sweep has given up what was under way and told the worker */
  bool cut;      /* no word of its worker is heard any more, the next sweep finishes it */
  bool finished; /* recorded and out of the list; freed when holds is 0 */
} session_ending_t;

typedef struct session_counts {
  uint64_t logins, login_failures, channels, channel_refusals, refused;
  uint64_t bytes_up, bytes_down;
  uint64_t rate_limited;
  uint64_t misbehaved, workers_died;
  uint64_t gave_way[DOOR_RULES]; /* connections closed before their login, for a newcomer */
} session_counts_t;

/* All of them, and what they share. */
typedef struct sessions {
  const session_host_t *host;
  list_t list; /* session_t, the newest first */
  size_t count;
  size_t channels_held; /* forwarded connections of all, those that are being opened included */
  uint64_t numbers;     /* of the last one */
  session_counts_t counts;
  uint32_t worker_walls;   /* of the worker that sealed itself last */
  repeats_table_t repeats; /* refusals before the login, and the budget of a source's sessions together */
  unsigned minute;         /* of the week, when hours were judged last */
  bool rejudged;           /* by this sweep: other grants may have taken over what hours ended */
  bool low;                /* the audit's reserve is in use; said in the log */
  bool stopping;
  uint64_t drained_by; /* stopping: sessions with open connections are ended then */
  /* A session was marked to end: shuts at once what would still pass bytes. Sends, frees and unlinks nothing.
   */
  void (*on_marked)(session_t *s);
} sessions_t;

struct session {
  list_t link;
  sessions_t *all;
  const session_host_t *host; /* of all */
  uint64_t number;
  char id[MSG_SESSION_ID_MAX];
  state_t state;
  endpoint_t source;
  int client; /* duplicate of the client's socket, to cut it */
  session_worker_t worker;
  session_login_t login;
  bool signed_in;
  bool started;   /* its start is on record */
  identity_t who; /* nobody before it has signed in */
  session_traffic_t traffic;
  session_questions_t questions;
  repeats_t repeats; /* refusals too many to be written singly */
  session_times_t times;
  session_limits_t limits;
  session_ending_t ending;
  unsigned holds; /* audit callbacks that will come */
};

/* The configuration in force. */
static inline const config_t *session_config(const session_t *s)
{
  return s->host->world.config;
}

/* Each of these three only marks the session and shuts its connections down: nothing is sent, freed or
 * unlinked, so they may be called from anywhere, from inside sending too. The sweep, in the loop's next turn,
 * does the rest: gives up what is under way, tells the worker, and finishes when it has gone or
 * SESSION_END_MS are over.
 *
 * session_end: text may be NULL: the reason's own. Does nothing to a session that is ending. */
void session_end(session_t *s, reason_t reason, const char *text);
/* The worker broke the contract: killed by the next sweep. what is for log and audit. */
void session_misbehaved(session_t *s, const char *what);
/* Without the patience that an ending session has for its worker. */
void session_cut(session_t *s);
/* The same mark where a reason is known already, or will be: patience_ms for its worker. */
void session_mark_ending(session_t *s, uint64_t patience_ms);
/* text may be NULL or "": the reason's own. */
void session_set_reason(session_t *s, reason_t reason, const char *text);

/* To the worker, with descriptor fd or -1. SMPL_ECLOSED once it is not heard any more. */
int session_send(session_t *s, const msg_t *m, int fd);

/* In and out of the list. */
void session_link(session_t *s);
void session_unlink(session_t *s);
/* NULL if there is none. */
session_t *session_by_number(const sessions_t *all, uint64_t number);
void session_free_if_done(session_t *s);
