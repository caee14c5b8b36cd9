/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: reads heads and bodies, runs one request at a time (pipelined ones wait their turn), writes
 * answers, closes. Private to the http side, with the structs of a front and its listeners. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/http/forwarded.h"
#include "app/http/front.h"
#include "app/http/pace.h"
#include "app/http/parse.h"
#include "app/http/request.h"
#include "app/http/room.h"
#include "app/http/shared.h"
#include "app/http/stats.h"
#include "app/http/tls.h"

typedef struct conn conn_t;
typedef struct listener listener_t;

/* What a connection waits for. Each phase has its list, in the order of deadlines. */
typedef enum phase {
  PHASE_HANDSHAKE, /* the end of the TLS handshake */
  PHASE_IDLE,      /* the first byte of a head */
  PHASE_TURN,      /* its turn in one of the loop's next rounds: its next request is here */
  PHASE_GO,        /* those before it in this round: its turn has come */
  PHASE_HEAD,      /* the rest of the head */
  PHASE_BODY,      /* the rest of the body */
  PHASE_PARSE,     /* its body's turn to be parsed: no deadline, everybody has turns */
  PHASE_HANDLER,   /* a handler's or guard's word: no deadline, they bound their own waits */
  PHASE_WRITE,     /* the peer to take our reply */
  PHASE_LINGER,    /* the peer to close after we did */
  PHASE_COUNT
} phase_t;

typedef struct conn_list {
  conn_t *first, *last;
} conn_list_t;

struct listener {
  front_t *front;
  const listener_conf_t *conf;
  uv_tcp_t tcp;
  bool open;
  bool accept_waits; /* one is here that is accepted in the next round */
  size_t connections;
  size_t handshakes; /* TLS handshakes under way */
  room_places_t places;
  turns_t *requests; /* that wait for the loop */
  pace_begun_t begun;
  turns_t *steps; /* of handshakes, likewise; NULL without TLS */
  listener_stats_t stats;
  conn_list_t lists[PHASE_COUNT];
};

enum {
  READ_BUFFER_SIZE = 64 << 10,
  SPARE_REQUESTS = 64, /* request structs kept for reuse */
  ID_PREFIX_LEN = 16   /* of a minted request id */
};

struct front {
  uv_loop_t *loop;
  access_log_t *access;
  front_limits_t limits;
  listener_t *listeners;
  size_t listener_count;
  size_t connections;
  const ip_net_t *balancers; /* whose X-Forwarded-For is believed */
  size_t balancer_count;
  const internal_keys_t *internal_keys;
  bool unnamed_said; /* that a balancer named no source */
  room_t *room;
  parse_t *parse;         /* big bodies; NULL before and after */
  size_t values;          /* parsed JSON values that requests with small bodies hold */
  size_t owed;            /* requests that a handler has not replied to */
  bool leaving;           /* told to end: no connection goes on after its answer */
  bool draining, drained; /* accepts none any more; has none any more */
  void (*done)(void *ctx, size_t abandoned);
  void *done_ctx;
  uint64_t lag_deadline, drain_deadline, give_up_deadline;
  uint64_t trim_after;
  uv_timer_t tick;
  uint64_t round;                    /* of the loop, from 1 */
  uv_idle_t pace;                    /* runs while somebody waits for a round */
  uv_prepare_t flush;                /* once a round: writes the access log before the loop sleeps */
  char id_prefix[ID_PREFIX_LEN + 1]; /* hexadecimal, drawn once */
  uint64_t id_next;
  uint64_t date_second;
  char date[32]; /* "Mon, 23 Nov 2026 03:25:59 GMT" */
  request_t *spare;
  size_t spare_count;
  size_t handles; /* uv handles of ours that are not closed yet */
  uint8_t read_buffer[READ_BUFFER_SIZE];
  uint8_t plain[READ_BUFFER_SIZE]; /* decrypted out of it */
  uint8_t piece[TLS_WRITE_MAX];    /* of an answer, before it is encrypted */
};

struct conn {
  listener_t *listener;
  conn_t *previous, *next; /* in listener->lists[phase] */
  uint64_t since;          /* in the phase */
  uint64_t deadline;
  endpoint_t peer;
  char client[ENDPOINT_TEXT_MAX]; /* peer, for the log */
  bool balancer;                  /* peer is one: each of its requests names its source */
  bool last;   /* the peer has become one since: the connection does not go on after its answer */
  ip_t source; /* whose the connection and all that it holds are now */
  crowd_member_t place, shake, held[ROOM_KINDS]; /* room.c's */
  phase_t phase;
  bool closing;    /* uv_close was called */
  bool processing; /* consume() is on the stack: it goes on by itself */
  bool reading;
  bool eof;
  bool shaking; /* its TLS handshake is counted */
  bool keep;    /* the connection goes on after the reply being written */
  bool drain;   /* before closing, read what the peer still sends */
  uint8_t *in;  /* bytes received and not consumed yet; NULL while there are none */
  size_t in_len, in_cap;
  unsigned served;    /* requests, since the loop came to this connection */
  bool in_turn;       /* its turn has come: what it may have served in one begins at once */
  turns_item_t turn;  /* pace.c's */
  turns_t *queue;     /* in which it waits for its turn; NULL: in none */
  size_t tls_held;    /* bytes of a TLS record that is cut off */
  size_t scanned;     /* bytes of the head that gate_scan has seen */
  size_t skip;        /* bytes of the answered request's body that are still to come */
  request_t *request; /* from the end of its head to its reply */
  size_t lingered;
  uint64_t reply_deadline; /* of the reply being written, whole */
  size_t write_left;       /* bytes not acknowledged when last looked at */
  char *out_head;          /* malloc'ed while a write is under way */
  shared_t *out_owned;     /* the answer's body, unless it is static */
  tls_link_t *tls;         /* NULL: plain HTTP */
  const uint8_t *plain_at; /* of the answer's body, what is not handed to the system or to TLS yet */
  size_t plain_left;
  bool tls_ended;          /* the peer has sent close_notify */
  const char *tls_failure; /* OpenSSL's words */
  uv_tcp_t tcp;
  uv_write_t write;
  uv_shutdown_t shutdown;
};

/* Called for every connection the kernel has for a listener. */
void conn_accept(listener_t *listener);
/* Takes in whoever has connected already, before the listener is closed: the system would reset them. */
void conn_accept_waiting(listener_t *listener);
/* True if bytes of the peer wait to be read. */
bool conn_has_unread(const conn_t *conn);
/* Goes on with what has come and was not looked at. */
void conn_resume(conn_t *conn);
/* Does the step of the TLS handshake whose bytes have come. */
void conn_shake(conn_t *conn);
/* After a reload: cuts whoever is no client any more, or was a balancer. Returns how many. */
size_t conn_judge_all(listener_t *listener);
/* Closes now, without a word. */
void conn_close(conn_t *conn);
/* Gives back what the connection holds of that kind: an unfinished body is answered with 503, an answer not
 * taken cut off. */
void conn_give_way(conn_t *conn, room_kind_t kind);
/* Acts on every connection of the listener whose deadline has passed. */
void conn_sweep(listener_t *listener, uint64_t now);
/* A wait of conn is over: it is logged and closed, unless it is a peer that still takes something of its
 * answer, in time. */
void conn_expire(conn_t *conn);

/* An answer ready to be sent. */
typedef struct answer {
  const char *head; /* copied as needed */
  size_t head_len;
  const void *body; /* valid until written: static, or of owned */
  size_t body_len;
  shared_t *owned; /* dropped when written; may be NULL */
  bool keep;       /* the connection may go on */
} answer_t;

/* Inside a connection: conn.c reads and decides, conn_write.c writes. */
void conn_enter(conn_t *conn, phase_t phase);
void conn_stop_reading(conn_t *conn);
void conn_out_of_memory(conn_t *conn);
/* The answer is on its way out whole. */
void conn_after_reply(conn_t *conn);
/* Takes over answer->owned. Leads to conn_after_reply, perhaps at once, or the connection is closed. */
void conn_send(conn_t *conn, const answer_t *answer);
/* Bytes of the answer that the peer has not acknowledged: queued here or in the kernel, or not encrypted yet.
 */
size_t conn_unacknowledged(const conn_t *conn);
/* An interim answer. */
void conn_say(conn_t *conn, const char *text);
/* Sends what TLS has to say by itself. */
void conn_flush_tls(conn_t *conn);

/* Sends the answer of conn->request and frees that request. */
void conn_answer(conn_t *conn, const answer_t *answer);

/* The request's body was parsed by a thread: its handler's turn, or a refusal that says why. */
void conn_parsed(request_t *request, int err, const char *why);

/* The guard of conn->request lets it pass: reads its body. */
void conn_go_on(conn_t *conn);

/* Front's side. */
request_t *front_request_new(front_t *front);
void front_request_free(request_t *request);
/* A connection of the front was freed or a request was replied to: is the drain over? */
void front_check_drained(front_t *front);
