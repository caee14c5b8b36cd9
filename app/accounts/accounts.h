/* SPDX-License-Identifier: Apache-2.0 */
/* The account service's state, shared by its handlers. */
#pragma once

#include "app/limits.h"
#include "app/accounts/outbox.h"
#include "app/accounts/revocation_writer.h"
#include "app/accounts/sister_watch.h"
#include "app/http/handler.h"
#include "app/services/caller.h"
#include "app/services/sister.h"
#include "app/store/store.h"

typedef struct accounts {
  store_t *store;
  sisters_t *sisters;
  outbox_t *outbox;
  sister_watch_t *watch;
  revocation_writer_t *revocations; /* NULL: there is no file */
  size_t touches;
  rates_t *rates; /* of customers' keys */
  void (*closed)(void *ctx);
  void *closed_ctx;
} accounts_t;

/* api_keys.c: handlers of /api/v1/api_keys. */
void api_keys_create(request_t *request, void *service);
void api_keys_list(request_t *request, void *service);
void api_keys_get(request_t *request, void *service);
void api_keys_replace(request_t *request, void *service);
void api_keys_delete(request_t *request, void *service);
void api_keys_revoke(request_t *request, void *service);
/* Of the internal tier: a key for any account (when its last one is lost); a sister's question about a key.
 */
void api_keys_create_internal(request_t *request, void *service);
void api_keys_introspect(request_t *request, void *service);

/* service_t.guard. */
void api_keys_judge(request_t *request, void *service);
/* Goes on with cb if the request's key is one of ours; else replies. */
void api_keys_guard(accounts_t *accounts, request_t *request, caller_cb cb);
