/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the tunnel share: one supervisor with its routes and local connections, which live as
 * long as the program, over one session at a time, which can be lost and replaced.
 *
 *   CONNECTING --session stands, first--> LEARNING --names and ports known, targets checked--> UP
 *        |  ^                                                                                  ^ |
 *        |  '---------- time is over, somebody connects, or we woke -------- WAITING <---------|-' session
 * lost |                                                                      ^              |
 *        '-- failed, may pass --------------------------------------------------'              |
 *        '-- session stands, again ------------------------------------------------------------'
 *   any --told to, refused for good, or failed before the first UP--> OVER
 *
 * Local connections: SOCKS (saying its target) -> HELD (no session) -> OPENING (asked for) -> CARRIED (the
 * pump has it). OPENING -> UNCLEAR (refused at once with others, and it is not known whose reason is whose)
 * -> OPENING, alone. A lost session resets the carried ones; those that were only being opened are held
 * again. */
#pragma once

#include <libssh/libssh.h>
#include <uv.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"
#include "common/ssh/ssh_pump.h"
#include "tunnel/session/alive.h"
#include "tunnel/session/ask.h"
#include "tunnel/session/backoff.h"
#include "tunnel/local/listen.h"
#include "tunnel/session/opener.h"
#include "tunnel/local/socks.h"
#include "tunnel/local/system.h"
#include "tunnel/run/tunnel.h"

typedef struct tunnel tunnel_t;
typedef struct connection connection_t;

/* A forward at work. */
typedef struct route {
  tunnel_t *tunnel;
  const forward_t *forward;
  listen_sockets_t sockets;
  uv_poll_t polls[LISTEN_SOCKETS_MAX];
  bool listening;                    /* the polls are started */
  uint16_t port;                     /* the target's */
  char name[FORWARD_TARGET_MAX];     /* the target's final one, for people */
  char host[FORWARD_TARGET_MAX + 1]; /* what the bastion is asked to connect to */
  bool checking;                     /* its check before ready is under way, or done */
  bool denied;                       /* by policy, when it was last asked about */
  uint64_t told_at;                  /* when a refusal was last said */
  char told[256];                    /* which */
  uint64_t stranger_told_at;         /* when another user's connection was last said */
} route_t;

typedef enum connection_state {
  CONNECTION_SOCKS,
  CONNECTION_HELD,
  CONNECTION_UNCLEAR,
  CONNECTION_OPENING,
  CONNECTION_CARRIED,
  CONNECTION_STATES
} connection_state_t;

struct connection {
  connection_t *prev, *next;
  tunnel_t *tunnel;
  route_t *route;
  connection_state_t state;
  int fd;        /* -1: the check before ready, and nothing else */
  bool is_check; /* ready waits for it */
  bool asked_twice;
  unsigned alone; /* so often it was asked for by itself */
  bool unclear;   /* the server's reason may be another's */
  int answer;     /* libssh's, in this turn */
  ssh_channel channel;
  uint64_t until;
  socks_t *socks;  /* while it says its target, and until that is answered */
  uv_poll_t *poll; /* while it says its target */
  char *host;      /* its own target; NULL: the route's */
  uint16_t port;
  uint32_t nth; /* so many channels have been asked for in this session with it */
  char
      asked_host[FORWARD_TARGET_MAX + 1]; /* as it was asked for: a name that is learnt changes the route's */
  uint16_t asked_port;
};

typedef struct connection_list {
  connection_t *first, *last;
  size_t count;
} connection_list_t;

typedef enum tunnel_state {
  TUNNEL_CONNECTING,
  TUNNEL_LEARNING,
  TUNNEL_UP,
  TUNNEL_WAITING,
  TUNNEL_OVER
} tunnel_state_t;

struct tunnel {
  const task_t *task;
  say_t *say;
  uv_loop_t loop;
  uv_signal_t signals[6];
  uv_timer_t retry;    /* WAITING: the next try */
  uv_timer_t second;   /* while the live line is shown, or somebody speaks SOCKS */
  uv_timer_t stopping; /* told to over the control socket: the answer is written first */
  uv_timer_t accept;   /* descriptors had run out */
  tunnel_state_t state;
  bool ready; /* it has been UP */
  route_t routes[FORWARDS_MAX];
  size_t route_count;
  connection_list_t lists[CONNECTION_STATES];

  /* the session */
  memory_t memory;
  bool memory_taken; /* an opener is at work, and the memory is its */
  session_t session;
  ssh_pump_t *pump;
  ask_t *ask;
  uint32_t asked_channels;  /* in this session: bastion and tunnel count them alike */
  struct refusal *refusals; /* of which the bastion is asked why */
  alive_t alive;
  uint64_t up_at;
  uint64_t lost_at;
  unsigned tries; /* since the session was lost */
  uint64_t tried_at;
  uint64_t opened_by; /* bytes received when openings were last looked at */
  size_t asking;      /* questions and checks that stand between us and ready */
  bool sought;        /* the first session was silent before it was of use, and another was sought */
  bool checked;       /* LEARNING: the targets' checks are under way */
  char last_event[DIAG_TEXT_MAX / 2]; /* the bastion's announcement of the end */
  char last_reason[64];
  char last_failure[DIAG_TEXT_MAX]; /* of the last try to connect */
  char bastion[USER_MAX + HOST_MAX + 16];

  /* what is told of it */
  uint64_t connections;          /* all that were carried */
  uint64_t bytes_up, bytes_down; /* of those that have ended */
  struct live *live;
  struct control *control;
  bool stop_soon; /* told so over the control socket */
  struct child *child;
  uint64_t descriptors; /* the limit as it was */
  system_peers_t peers;
  const struct job *job; /* a question instead of forwards */

  exit_code_t code;
  int status; /* of the program that was run; -1: none has ended */
  char reason[64];
  diag_t diag;
};

/* ---- tunnel.c: the life ---- */

/* It is over, with this; the first call counts. */
void tunnel_fail(tunnel_t *t, exit_code_t code, const char *reason, const char *text);
/* It is over, as asked. */
void tunnel_stop(tunnel_t *t);
/* The second's timer runs while there is anything to look at. */
void tunnel_tick(tunnel_t *t);
/* Somebody connects while there is no session: the next try is made soon. */
void tunnel_hurry(tunnel_t *t);

/* ---- local.c: listeners and what comes in ---- */

/* False after tunnel_fail. */
bool local_bind(tunnel_t *t);
/* Starts or stops accepting, as the number of connections wants it. */
void local_listen(tunnel_t *t);
void local_close(tunnel_t *t);
/* Whether nobody but us listens: nothing more is to come in (--stdio). */
void local_adopt(tunnel_t *t, route_t *route, int fd);

/* ---- carry.c: connections through the session ---- */

/* Whoever connected learns at once that it leads nowhere. */
void carry_reset(int fd);
/* Takes over fd. */
connection_t *carry_new(tunnel_t *t, route_t *route, int fd, connection_state_t state);
void carry_free(connection_t *c);
void carry_move(connection_t *c, connection_state_t state);
size_t carry_count(const tunnel_t *t);
/* The session stands and the connection knows its target: a channel is asked for, or it is held. */
void carry_start(connection_t *c);
/* Whether route's target can be reached: by whoever waits for it already, else by a channel that is let go
 * again. */
void carry_check(tunnel_t *t, route_t *route);
/* What a program that speaks SOCKS is told instead of a connection. Takes over fd. */
void carry_refuse_socks(int fd, socks_code_t code);
/* After every turn of the pump. */
void carry_step(tunnel_t *t);
/* The session is being taken down: carried ones are reset, opening ones are held again. Before the pump goes.
 */
void carry_lost(tunnel_t *t);
/* It stands again. */
void carry_release(tunnel_t *t);
void carry_close_all(tunnel_t *t);
/* Bytes of all connections, those that live included. */
void carry_bytes(const tunnel_t *t, uint64_t *up, uint64_t *down);

/* ---- learn.c: what the bastion says of targets ---- */

/* Asks for the name, host and port of every route. */
void learn_resolve(tunnel_t *t);
/* LEARNING: whether a step further is possible, it is made. */
void learn_step(tunnel_t *t);
/* Why a connection was refused: asked, and said. Takes over the descriptor of one that speaks SOCKS, and
 * answers there. */
void learn_why(connection_t *c);
/* Before ready, and of --stdio, a refusal ends the program; else it is said, but not again and again. */
void learn_refused(tunnel_t *t, route_t *route, const char *target, uint16_t port, exit_code_t code,
                   const char *reason, const char *text);
void learn_event(void *ctx, const json_t *event);
/* libssh has put the server's answer into one text; EXIT_REFUSED or EXIT_UNREACHABLE. */
exit_code_t learn_read_refusal(ssh_session session, char *text, size_t cap);
/* False when the text is of something else: a later answer has taken its place. */
bool learn_has_refusal(ssh_session session);
