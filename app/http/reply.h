/* SPDX-License-Identifier: Apache-2.0 */
/* Composing answers. Private to the http side; handlers use handler.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/http/access.h"
#include "app/http/output.h"
#include "app/http/request.h"
#include "app/http/stats.h"

/* "Mon, 23 Nov 2026 03:25:59 GMT", formatted once a second. Zeroed: not yet. */
typedef struct reply_date {
  uint64_t second;
  char text[32];
} reply_date_t;

/* Where answers go. */
typedef struct reply_calls {
  /* The request's connection does not go on after this answer. */
  bool (*ends)(const request_t *request);
  /* Takes over the request and answer->owned; the rest of the answer is valid for the call. */
  void (*answer)(request_t *request, const answer_t *answer);
  /* The guard lets the request pass. */
  void (*go_on)(request_t *request);
} reply_calls_t;

/* What the answers of one listener are made with. Borrowed by requests. */
typedef struct reply_desk {
  const char *listener; /* its name */
  bool internal;
  listener_stats_t *stats;
  access_log_t *access;
  reply_date_t *date;
  const reply_calls_t *calls;
  void *ctx; /* theirs */
} reply_desk_t;

/* The refusal in request->admit: on a public listener, if plain, the one 404 or 400 of a public front;
 * otherwise an error in JSON:API form. */
void reply_refusal(request_t *request, const uint8_t *head, size_t head_len);

/* Bytes that live as long as the program, answered with 304 if the client has them. encoding and etag may be
 * NULL. */
typedef struct reply_static {
  const char *content_type;
  const char *encoding; /* "gzip" */
  const char *etag;     /* quoted */
  const void *data;
  size_t len;
} reply_static_t;

void reply_static(request_t *request, const reply_static_t *what);
/* text is taken over; NULL: out of memory, 500. */
void reply_text(request_t *request, const char *content_type, char *text, size_t len);
void reply_redirect(request_t *request, const char *location);
