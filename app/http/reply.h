/* SPDX-License-Identifier: Apache-2.0 */
/* Composing answers. Private to the http side; handlers use handler.h. */
#pragma once

#include <stddef.h>

#include "app/http/request.h"

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
