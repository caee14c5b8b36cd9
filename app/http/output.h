/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half of a connection: answers, plain or encrypted, in slices, so that the loop turns to others
 * in the middle of a big one. It knows its socket and nothing else of the connection, and says what became of
 * an answer. Private to the http side; loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/http/shared.h"
#include "app/http/tls.h"

/* An answer ready to be sent. */
typedef struct answer {
  const char *head; /* copied as needed */
  size_t head_len;
  const void *body; /* valid until written: static, or of owned */
  size_t body_len;
  shared_t *owned; /* dropped when written; may be NULL */
  bool keep;       /* the connection may go on */
} answer_t;

typedef enum output_state {
  OUTPUT_GONE,      /* the answer was handed to the system whole */
  OUTPUT_QUEUED,    /* the peer has to take something first: `written` follows */
  OUTPUT_FULL,      /* `hold` has said no */
  OUTPUT_NO_MEMORY, /* no answer can be sent any more, as with the next two */
  OUTPUT_TOO_LONG,  /* the head does not fit into a TLS record */
  OUTPUT_BROKEN     /* nor with this one: the socket takes nothing */
} output_state_t;

typedef struct output output_t;

/* What an output asks and tells its connection, given when it is made. */
typedef struct output_calls {
  /* May the answer hold so many bytes until the peer takes them? Asked once an answer. */
  bool (*hold)(void *ctx, size_t bytes);
  /* What was queued of the answer was taken, or with status < 0 will never be; output_next goes on. */
  void (*written)(void *ctx, int status);
  /* Something else than an answer could not be sent. */
  void (*broken)(void *ctx);
} output_calls_t;

/* The members are output.c's, but for tls. */
struct output {
  uv_tcp_t *tcp;
  tls_link_t *tls; /* borrowed; NULL: plain HTTP */
  uint8_t *piece;  /* TLS_WRITE_MAX bytes that all outputs share */
  const output_calls_t *calls;
  void *ctx;
  uv_write_t write;
  const uint8_t *at; /* of the answer's body, what is not handed to the system or to TLS yet */
  size_t left;
  char *copy;      /* malloc'ed while a write is under way */
  shared_t *owned; /* the answer's body, unless it is static */
  bool held;       /* `hold` has said yes to this answer */
};

/* Sends an answer; the one before is gone. Takes over answer->owned. */
output_state_t output_send(output_t *out, const answer_t *answer);
/* Goes on after `written`. */
output_state_t output_next(output_t *out);
/* True once all of the answer is at least queued. */
bool output_is_queued_whole(const output_t *out);
/* Bytes of the answer that the peer has not acknowledged: queued here or in the kernel, or not encrypted yet.
 */
size_t output_unacknowledged(const output_t *out);

/* Sends an interim answer, and what TLS has to say by itself (handshakes, alerts, tickets). OUTPUT_GONE also
 * if some of it is queued. */
output_state_t output_say(output_t *out, const char *text);
output_state_t output_flush_tls(output_t *out);

/* Once its socket is closed. */
void output_free(output_t *out);
