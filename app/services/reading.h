/* SPDX-License-Identifier: Apache-2.0 */
/* A read that is the whole answer to a request: from its fetch to the reply. It lives in its request. */
#pragma once

#include "app/http/handler.h"
#include "app/store/fetch.h"

typedef struct reading reading_t;
struct reading {
  fetch_t fetch; /* first */
  request_t *request;
  void *service;
  void (*missing)(reading_t *reading); /* replies for SMPL_ENOENT; NULL: there is no such case */
  void (*found)(reading_t *reading);   /* instead of replying with the text; NULL for the usual reply */
};

/* NULL: 500 was replied. account, if there is one: whose rows they are; copied. */
reading_t *reading_new(request_t *request, void *service, store_op_t op, const char *account);
/* Asks the store for it; the reply may come later. Calls wait in turns (store.h) by account or else by
 * source. */
void reading_start(store_t *store, reading_t *reading);
/* Both, for a page of a list: asked was read of the request. */
void reading_list(store_t *store, request_t *request, store_op_t op, const char *account,
                  const jsonapi_list_t *asked);
