/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: its parts, what it waits for, what it holds, how it ends. What it reads is intake.c's, its
 * requests are exchange.c's, its answers delivery.c's, how it begins is door.c's. Private to the http side;
 * loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/limits.h"
#include "app/http/front_conf.h"
#include "app/http/output.h"
#include "app/http/pace.h"
#include "app/http/parse.h"
#include "app/http/phase.h"
#include "app/http/reply.h"
#include "app/http/requests.h"
#include "app/http/room.h"
#include "app/http/stats.h"
#include "app/http/tls.h"

/* What the connections of a front share. */
typedef struct conn_env {
  uv_loop_t *loop;
  access_log_t *access;
  front_limits_t limits;
  const ip_net_t *balancers; /* whose X-Forwarded-For is believed */
  size_t balancer_count;
  const internal_keys_t *internal_keys;
  bool unnamed_said; /* that a balancer named no source */
  room_t *room;
  parse_t *parse; /* big bodies; NULL before and after */
  requests_t requests;
  pace_rounds_t rounds;
  size_t connections;
  bool leaving;  /* told to end: no connection goes on after its answer */
  bool draining; /* accepts none any more */
  /* A connection was freed, or a request whose client has gone was replied to. */
  void (*gone)(void *ctx);
  void *ctx;
  uint8_t read_buffer[CONN_READ_SIZE];
  uint8_t plain[CONN_READ_SIZE]; /* decrypted out of it */
  uint8_t piece[TLS_WRITE_MAX];  /* of an answer, before it is encrypted */
} conn_env_t;

/* What the connections of one listener share. */
typedef struct conn_listener {
  conn_env_t *env;
  const listener_conf_t *conf;
  size_t connections;
  phases_t phases;
  room_places_t places;
  pace_t pace;
  listener_stats_t stats;
  reply_desk_t desk;
} conn_listener_t;

/* Bytes received and not consumed yet. */
typedef struct conn_input {
  uint8_t *bytes; /* NULL while there are none */
  size_t len, cap;
  size_t tls_held; /* bytes of a TLS record that is cut off */
  size_t scanned;  /* bytes of the head that gate_scan has seen */
  size_t skip;     /* bytes of the answered request's body that are still to come */
  size_t lingered; /* bytes that came after the last answer */
} conn_input_t;

typedef struct conn {
  seat_t seat; /* first: what it waits for and what it holds, room.h */
  conn_listener_t *listener;
  char client[ENDPOINT_TEXT_MAX]; /* its other end, for the log */
  bool last;       /* the peer has become a balancer since: it does not go on after its answer */
  bool closing;    /* uv_close was called */
  bool processing; /* consume() is on the stack: it goes on by itself */
  bool reading;
  bool eof;
  bool keep;  /* it goes on after the reply being written */
  bool drain; /* before closing, read what the peer still sends */
  conn_input_t in;
  unsigned served;         /* requests, since the loop came to this connection */
  bool in_turn;            /* its turn has come: what it may have served in one begins at once */
  pace_turn_t turn;        /* pace.h */
  request_t *request;      /* from the end of its head to its reply */
  uint64_t reply_deadline; /* of the reply being written, whole */
  size_t write_left;       /* bytes not acknowledged when last looked at */
  output_t out;
  tls_link_t *tls;         /* NULL: plain HTTP */
  bool tls_ended;          /* the peer has sent close_notify */
  const char *tls_failure; /* OpenSSL's words */
  uv_tcp_t tcp;
  uv_shutdown_t shutdown;
} conn_t;

/* Whose it is. NULL stays NULL. */
conn_t *conn_of_wait(phased_t *wait);
conn_t *conn_of_seat(seat_t *seat);
conn_t *conn_of_turn(pace_turn_t *turn);

/* Waits for something else from now on. */
void conn_enter(conn_t *conn, phase_t phase);
/* What the peer sends is looked at when it comes. */
bool conn_wants_bytes(const conn_t *conn);
/* True if bytes of the peer wait to be read. */
bool conn_has_unread(const conn_t *conn);
void conn_stop_reading(conn_t *conn);

/* Closes now, without a word. May be called again. */
void conn_close(conn_t *conn);
/* The same, logged and counted with a reason, which is a literal. */
void conn_cut(conn_t *conn, const char *reason);
/* The same, without memory for what it needs. */
void conn_out_of_memory(conn_t *conn);
/* A wait of conn is over: it is cut, unless it is a peer that still takes something of its answer, in time.
 */
void conn_expire(conn_t *conn);
/* Acts on every connection of the listener whose deadline has passed. */
void conn_sweep(conn_listener_t *listener, uint64_t now);

/* Counts what the connection holds of ROOM_HEADS or ROOM_REPLIES altogether; whoever gives way for it is cut.
 * False if that is the connection itself. */
bool conn_hold(conn_t *conn, room_kind_t kind, size_t bytes);
/* Adds to what is kept of its input; false if the connection is closed instead. */
bool conn_append(conn_t *conn, const uint8_t *bytes, size_t len);
/* Keeps bytes[0..len) alone of its input, in which they may lie. The connection may be closed instead. */
void conn_keep(conn_t *conn, const uint8_t *bytes, size_t len);
/* Takes the input kept so far out of the connection, malloc'ed. */
uint8_t *conn_take_input(conn_t *conn, size_t *len);
/* The request's body is parsed, or will not come. */
void conn_drop_body(conn_t *conn);

/* Sends an interim answer, and what TLS has to say by itself. The connection may be closed instead. */
void conn_say(conn_t *conn, const char *text);
void conn_flush_tls(conn_t *conn);
