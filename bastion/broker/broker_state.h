/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker's own files share: broker.c (start, listeners, reload), session.c (life and messages),
 * session_login.c (signatures, users), session_channel.c (forwarded connections), session_control.c
 * (smpl-control), admin.c (control socket). One thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "bastion/audit/audit.h"
#include "bastion/audit/audit_kept.h"
#include "bastion/session/blocks.h"
#include "bastion/policy/catalog.h"
#include "bastion/policy/config.h"
#include "bastion/session/door.h"
#include "bastion/policy/finder.h"
#include "bastion/audit/headsink.h"
#include "bastion/session/known.h"
#include "bastion/contract/msg.h"
#include "bastion/policy/opening.h"
#include "bastion/spawn/peer.h"
#include "bastion/policy/penalty.h"
#include "bastion/session/repeats.h"
#include "bastion/contract/signedreq.h"
#include "bastion/spawn/spawner.h"
#include "bastion/contract/state.h"
#include "bastion/session/usage.h"
#include "bastion/spawn/walls.h"
#include "common/net/control.h"
#include "common/net/metrics_http.h"
#include "common/process/notify.h"
#include "common/net/prom_text.h"

enum {
  SESSION_AUTH_FAILURES_MAX = 6, /* signed attempts that fail */
  SESSION_PROBES_MAX = 20,       /* keys offered without a signature */
  SESSION_NOTES_MAX = 80,        /* MSG_NOTEs; the worker itself stops earlier */
  SESSION_SLACK = 2,         /* what a sound worker may exceed the limits above by, on its way to the end */
  SESSION_CONTROLS_MAX = 64, /* smpl-control questions under way */
  SESSION_REFUSALS_MAX = 64, /* refusals remembered for `why`; the oldest gives way */
  SESSION_SIGN_BURST = 64,   /* host signatures for rekeys at once; slower keys count more (hostkey_cost) */
  SESSION_SIGN_PER_SECOND = 16,  /* and as they come back */
  SESSION_MESSAGE_BURST = 20000, /* messages from one worker at once */
  SESSION_MESSAGE_PER_SECOND = 20000,
  SESSION_QUESTION_BURST = 200, /* smpl-control questions at once */
  SESSION_QUESTION_PER_SECOND = 50,
  SESSION_END_MS = 2000,         /* for the worker to say goodbye to its client */
  SESSION_EXIT_MS = 1000,        /* between the end of the pair and the word how the worker ended */
  SESSION_UNGRANTED_MS = 600000, /* idle and session time of a user without any grant */
  BROKER_SWEEP_MS = 250,         /* how exact deadlines are */
};

/* Bytes that one session can have forwarded each way: what a number in a record can say. */
#define SESSION_BYTES_MAX ((uint64_t)INT64_MAX)

typedef struct broker broker_t;
typedef struct session session_t;

typedef enum channel_state {
  CHANNEL_OPENING,   /* being found and connected */
  CHANNEL_RECORDING, /* connected; its record is on the way to the disk */
  CHANNEL_LIVE,      /* the worker has the descriptor, we keep a duplicate to cut it */
} channel_state_t;

typedef struct channel {
  struct channel *next;
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

/* What a client has been told of an end that comes near (session_events.c). */
typedef struct warning {
  bool given;
  bool again;      /* given before: the next one comes later, so that short limits do not warn without end */
  uint64_t lowest; /* ms that were left at least since it was given */
} warning_t;

/* A smpl-control question that waits for DNS. */
typedef struct question {
  struct question *next;
  session_t *session;
  finder_t *finder;
  catalog_gather_t *gather;
  json_t *id;                /* echoed; NULL if none was sent */
  json_t *reply;             /* an answer that waits for the nearest name; NULL for `targets` */
  char name[GRANT_NAME_MAX]; /* the final name that was meant */
  uint32_t request;
  uint32_t control;
  char target[MSG_HOST_MAX];
} question_t;

typedef struct refusal {
  uint32_t nth; /* as msg_open_t has it */
  char host[MSG_HOST_MAX];
  uint16_t port;
  reason_t reason;
  uint64_t at; /* wall ms */
} refusal_t;

struct session {
  session_t *prev, *next;
  broker_t *broker;
  uint64_t number;
  char id[MSG_SESSION_ID_MAX];
  state_t state;
  peer_t *peer;
  hostkeys_t *keys; /* that its worker was forked with, ours */
  int client;       /* duplicate of the client's socket, to cut it */
  endpoint_t source;
  door_place_t place; /* until it has signed in, or ends */
  int pid;
  uint32_t walls;
  bool exited;     /* the template has told of the worker's exit, or cannot any more */
  int exit_status; /* as waitpid gives it; -1 unknown */
  bool gone;       /* the pair is closed at the other end */
  bool crashed;    /* the worker said so itself */
  bool bye;        /* the worker said so itself: there is nothing to tell it */
  bool swept;      /* ending: the sweep has given up what was under way and told the worker */
  bool cut;        /* ending: no word of its worker is heard any more, the next sweep finishes it */
  bool finished;   /* recorded and out of the registry; freed when holds is 0 */
  unsigned holds;  /* audit callbacks that will come */
  /* login */
  uint8_t hash[SESSION_HASH_MAX]; /* the session id of SSH: the first exchange hash */
  size_t hash_len;
  rate_t sign_rate;
  rate_t message_rate;
  rate_t question_rate;
  uint32_t failures, probes, notes;
  uint32_t refused_keys; /* offered and not on file, or not to be used */
  bool unsigned_told;    /* that a host signature was not given is on record; once */
  bool verified;         /* verified_* are of a signature that held */
  char verified_user[MSG_USER_MAX];
  uint8_t verified_key[MSG_KEY_MAX];
  size_t verified_key_len;
  bool proven; /* a signature of a key on file held, whatever came of it */
  bool signed_in;
  bool started; /* its start is on record */
  uint32_t login_request;
  char user[MSG_USER_MAX];
  char fingerprint[USERKEY_FINGERPRINT_MAX];
  char client_version[MSG_VERSION_MAX];
  /* forwarded connections */
  channel_t *channels;
  size_t channel_count;
  uint32_t channel_number;
  uint64_t channels_opened;
  uint64_t bytes_up, bytes_down;
  refusal_t refusals[SESSION_REFUSALS_MAX];
  size_t refusal_count; /* ever; the newest is at (count - 1) % MAX */
  repeats_t repeats;    /* refusals too many to be written singly */
  question_t *questions;
  size_t question_count;
  /* times, monotonic ms */
  uint64_t connected_at, opened_at, active_at;
  uint64_t login_by;            /* signed in by then, or ended */
  uint64_t end_by;              /* ending: finished by then whatever the worker does. Set once, never moved */
  uint64_t idle_ms, session_ms; /* in force now */
  uint64_t hours_end;           /* when a grant's hours end it; UINT64_MAX: never */
  warning_t warning;
  reason_t reason;
  char reason_text[MSG_TEXT_MAX];
};

struct broker {
  uv_loop_t *loop;
  const char *config_path;
  config_t *config;
  finder_world_t world;
  lookup_t *lookup;
  catalog_t *catalog;
  audit_t *audit;
  audit_kept_t kept; /* the audit's head, as state has it */
  uint64_t kept_at;  /* monotonic ms */
  bool keep_failing;
  blocks_t *blocks; /* NULL without `state` */
  usage_t *usage;   /* what each user takes of what all share */
  bool low;         /* the audit's reserve is in use; said in the log */
  uint64_t rate_limited;
  spawner_t *spawner;
  control_server_t *control;
  metrics_server_t *metrics;
  walls_t walls;    /* the broker's own */
  headsink_t *sink; /* NULL without one */
  notify_t *notify;
  uint64_t alive_at; /* when the service manager was told last */
  penalty_t *penalties;
  known_t *known;
  door_t *door; /* the places of those that have not signed in */
  struct listener *listeners;
  bool accepting;
  session_t *sessions;
  size_t connections;
  size_t channels_held; /* forwarded connections of all sessions, those that are being opened included */
  uint64_t descriptors; /* that this process may have */
  uint64_t numbers;
  uint32_t worker_walls; /* of the worker that sealed itself last */
  uint64_t misbehaved, workers_died;
  prom_program_t about;
  char reload_error[DIAG_TEXT_MAX]; /* of the last reload; "" if it took effect */
  uint64_t bytes_up, bytes_down;
  uint64_t accepted, refused, logins, login_failures, channels, channel_refusals;
  uint64_t dropped[DOOR_RULES];  /* newcomers closed at once, by the rule */
  uint64_t gave_way[DOOR_RULES]; /* connections closed before their login, for a newcomer */
  uint64_t door_logged_at[DOOR_RULES];
  repeats_table_t repeats; /* the same before the login, and the budget of a source's sessions together */
  unsigned minute;         /* of the week, when hours were judged last */
  bool rejudged;           /* by this sweep: other grants may have taken over what hours ended */
  uint64_t started_at;
  uv_timer_t sweep;
  uv_timer_t soon; /* a sweep in the loop's next turn */
  uv_signal_t signals[3];
  bool watching; /* sweeps and signals are started */
  bool ready_said;
  bool stopping;
  uint64_t drained_by; /* stopping: sessions with open connections are ended then */
  int exit_status;
};

/* ---- session.c ---- */

/* Takes over client, also on failure, unless it returns the rule by which there is no place for it. */
door_rule_t session_start(broker_t *b, int client, const endpoint_t *source);
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
void session_spawned(broker_t *b, uint64_t number, int pid);
void session_exited(broker_t *b, uint64_t number, int status);
/* At the program's end: cuts and records what is left. */
void session_force_all(broker_t *b);
/* Deadlines of all sessions, and the ends that were marked. The one place that finishes sessions. */
void session_sweep(broker_t *b);
/* After a reload: ends what is no longer granted. Returns how many. */
size_t session_judge_all(broker_t *b);
/* Limits follow from the grants in use. False if no grant of the user is in force. */
bool session_set_limits(session_t *s);
session_t *session_by_number(broker_t *b, uint64_t number);
int session_send(session_t *s, const msg_t *m, int fd);
void session_free_if_done(session_t *s);
/* A record of this session: event, session, user (once it is known), source. */
json_t *session_record(const session_t *s, const char *event);
/* audit_append, on the account of the user who is signed in. lazy: audit_append_lazy. */
int session_write(session_t *s, json_t *record, bool lazy, audit_cb cb, void *ctx);
/* Appends without waiting. */
void session_append(session_t *s, json_t *record);
/* Appends a refusal, or counts it where there are too many of them (repeats.h): of this session and of its
 * source, and before the login of its source alone. Takes over record; event must be static, what is "" or
 * what was refused. True if it was appended, and is worth a line in the log. */
bool session_append_refusal(session_t *s, json_t *record, const char *event, const char *what, uint16_t port,
                            reason_t reason);
/* Appends what was counted: where it is due, or all at the program's end. */
void session_tell_repeats(broker_t *b, bool all);

/* ---- session_door.c ---- */

/* A place before the login for a session that has its source, and has another one give way for it where that
 * must be. The rule by which it gets none; DOOR_OPEN. */
door_rule_t session_take_place(session_t *s);
/* It has signed in: its place is free, and its source keeps one for the next. */
void session_leave_place(session_t *s);

/* ---- session_space.c ---- */

/* audit_space_cb with the broker: has whoever wrote most give way while the disk is nearly full. */
void space_judge(void *broker, uint64_t free_bytes);
/* For `status`: free, reserve, low, and the users who are out. */
json_t *space_json(const broker_t *b, const audit_status_t *a);

/* ---- session_shares.c ---- */

/* Whether the user may have this session more, which has not signed in yet: REASON_NONE. */
reason_t session_judge_shares(const session_t *s);
/* Whether the user may have a forwarded connection more. */
bool session_may_open(const session_t *s);
/* Forwarded connections of all users that the descriptors suffice for. */
/* Open files of the broker without which the limits of this configuration cannot hold. */
uint64_t session_descriptors_needed(const config_t *c);
size_t session_channels_max(const broker_t *b);

/* ---- session_login.c ---- */

void login_sign(session_t *s, const msg_t *m);
/* late: the user has signed in. */
void login_verify(session_t *s, const msg_t *m, bool late);
void login_probe(session_t *s, const msg_t *m, bool late);
void login_request(session_t *s, const msg_t *m);

/* ---- session_channel.c ---- */

void channel_open(session_t *s, const msg_t *m, bool refuse);
void channel_end(session_t *s, const msg_t *m);
void channel_traffic(session_t *s, const msg_t *m);
/* No byte passes any more, whoever holds a descriptor of theirs. Frees nothing. */
void channel_shut_all(session_t *s);
/* Refuses those that are being opened. Not for a session that is open. */
void channel_give_up_all(session_t *s);
/* Records the end of all and frees them. */
void channel_finish_all(session_t *s);
/* Decides anew for every open connection, by which grant and until when. Whether all are still granted. */
bool channel_all_granted(session_t *s);
/* Whether older sessions of the user leave this one no room (max_sessions) in a grant that it uses. */
bool channel_over_limit(const session_t *s);
/* The newest of this target; port 0: any. With nth, of the nth channel alone, if that was its target; 0: of
 * whichever. */
const refusal_t *channel_last_refusal(const session_t *s, uint32_t nth, const char *host, uint16_t port);

/* ---- session_control.c ---- */

void question_ask(session_t *s, const msg_t *m);
void question_drop_all(session_t *s);

/* ---- session_targets.c ---- */

/* Makes known what targets_list and targets_nearest look into. cb as of catalog_gather. */
void targets_gather(session_t *s, catalog_cb cb, void *ctx, catalog_gather_t **out);
/* smpl-control's answer. */
json_t *targets_list(const session_t *s);
/* The name nearest to this final one that targets_list has, if only a letter or two are between them. nearest
 * of GRANT_NAME_MAX bytes. */
bool targets_nearest(const session_t *s, const char *name, char *nearest);
/* Letters to insert, delete, replace or swap with the next to make b of a. Pure. */
unsigned targets_distance(const char *a, const char *b);
/* Whether asked, a name below domain, is name without some of its labels before the domain. Pure. */
bool targets_is_short_for(const char *asked, const char *domain, const char *name);

/* ---- session_events.c ---- */

/* Tells the client when an end comes near, once; again after it was averted. Called by each sweep. */
void events_warn(session_t *s, uint64_t now);
/* Tells the client that the session is being ended, before the worker is told to. */
void events_ending(session_t *s);
/* Tells the client that the bastion stops, and when. */
void events_stopping(session_t *s, uint64_t left_ms);
/* What is left until the idle time and until the session's time (hours count into it) are over, in ms. */
uint64_t events_idle_left(const session_t *s, uint64_t now);
uint64_t events_session_left(const session_t *s, uint64_t now);

/* ---- admin.c ---- */

void admin_handle(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body);

/* ---- broker.c ---- */

/* session_sweep in the loop's next turn. */
void broker_sweep_soon(broker_t *b);
/* Loads the configuration anew and puts it in force. On error nothing changes. Success with faults in the
 * configuration now in force (faults.h) is logged here. */
int broker_reload(broker_t *b, size_t *ended, diag_t *diag);
