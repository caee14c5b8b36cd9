/* SPDX-License-Identifier: Apache-2.0 */
/* Who sent a request: what an API key leads to, at the account service itself and at its sisters. */
#pragma once

#include "app/http/handler.h"
#include "app/store/ident.h"
#include "app/services/rates.h"

typedef struct caller {
  char account[UUID_TEXT_MAX];
  char key_id[UUID_TEXT_MAX];
} caller_t;

/* Goes on with a request whose key was found active; caller is borrowed for the call. */
typedef void (*caller_cb)(request_t *request, void *service, const caller_t *caller);

/* The request's Bearer token if it can be a key at all; otherwise replies 401 and returns NULL. Touches no
 * storage and no sister. */
const char *caller_token(request_t *request);
/* Counts the request, once, against its key's rate; over it, replies 429 and returns false. rates NULL: there
 * is no limit. */
bool caller_within_rate(rates_t *rates, request_t *request, const caller_t *caller);
/* 401: the key is unknown, revoked or expired; which of these is not told. */
void caller_refuse(request_t *request);
