/* SPDX-License-Identifier: Apache-2.0 */
/* A server on a libuv loop whose clients ask once and are answered once. It accepts, reads into the owner's
 * memory, bounds the time of a client, writes the one answer, and ends all of it. control.h and
 * metrics_http.h are built on it. They decide which client gives way. All calls on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/list.h"

typedef struct uv_server uv_server_t;

/* A connection. The owner's struct begins with it. */
typedef struct uv_client {
  uv_server_t *server; /* NULL once the connection has left its server */
  list_t link;         /* in server->clients, the newest first */
  union {
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } handle;
  uv_timer_t timer;
  uv_write_t write;
  unsigned handles; /* still open */
  bool closing;     /* uv_client_close was called */
  bool answering;   /* an answer is on its way */
} uv_client_t;

typedef struct uv_server_type {
  uv_handle_type kind; /* UV_TCP or UV_NAMED_PIPE */
  size_t size;         /* of the owner's connection */
  uint64_t timeout_ms; /* for what is asked to arrive, and for the answer to be taken */
  /* A new connection, zeroed but for its client. False: it is closed. */
  bool (*accepted)(uv_client_t *c);
  /* Where the next bytes go; an empty one ends the connection. */
  uv_buf_t (*room)(uv_client_t *c);
  /* So many bytes have arrived there. The timer runs on. */
  void (*received)(uv_client_t *c, size_t n);
  /* uv_client_close was called. May be NULL. */
  void (*left)(uv_client_t *c);
  /* All its handles are closed and its server does not know it any more: the owner frees it, now or later. */
  void (*gone)(uv_client_t *c);
  /* After uv_server_close, when the last connection has gone: the owner frees the server. */
  void (*over)(uv_server_t *s);
} uv_server_type_t;

/* The owner's server begins with it. */
struct uv_server {
  const uv_server_type_t *type;
  union {
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } listener;
  list_t clients;
  bool listening; /* the listener's handle is open */
  bool closed;    /* uv_server_close was called */
};

/* Initializes the listener's handle, which the owner then binds or opens. */
void uv_server_init(uv_server_t *s, uv_loop_t *loop, const uv_server_type_t *type);
/* Negative: libuv's error. */
int uv_server_listen(uv_server_t *s, int backlog);
/* Closes the listener and every connection but, if answers may still leave, those that are answered. */
void uv_server_close(uv_server_t *s, bool let_answers_leave);

/* Sends the buffers, whose bytes stay until the connection has gone, and closes. */
void uv_client_answer(uv_client_t *c, const uv_buf_t *bufs, unsigned count);
/* No more is read, and no time runs out: the owner takes its time with the answer. */
void uv_client_hold(uv_client_t *c);
/* The connection's time begins anew. */
void uv_client_restart(uv_client_t *c);
/* Again does nothing. */
void uv_client_close(uv_client_t *c);
