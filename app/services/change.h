/* SPDX-License-Identifier: Apache-2.0 */
/* One request that writes: from its checked body to an edit of the store, and from the committed edit to the
 * reply. */
#pragma once

#include "app/http/handler.h"
#include "app/services/caller.h"
#include "app/services/reply.h"
#include "app/store/edit.h"

typedef struct change change_t;
struct change {
  edit_t edit; /* first. What the operation needs besides is set by whoever starts it */
  request_t *request;
  void *service;
  /* Loop's thread, after the commit, instead of replying with the document; NULL for the usual reply. */
  void (*committed)(change_t *change);
  /* Loop's thread, before the reply, whatever came of it; may be NULL. */
  void (*ended)(change_t *change);

  store_t *store;                 /* change.c's own, as what follows */
  int (*check)(change_t *change); /* until it was called */
  int checked;                    /* what it said */
};

/* A change that lives as long as the request, with request, service, op, the caller's account, the path's id
 * and now set; NULL: 500 was replied. size is that of a struct whose first member is a change_t. caller may
 * be NULL. */
void *change_new(request_t *request, size_t size, void *service, store_op_t op, const caller_t *caller);
/* Calls check, where that holds up nobody (request_work): it reads the body, fills the edit and touches
 * nothing else. Then the edit is asked for as by change_start, or refused with its problem (or 500). */
void change_check(store_t *store, change_t *change, int (*check)(change_t *change));
/* Asks the store for it; the reply comes later (503 at once if no place is left). */
void change_start(store_t *store, change_t *change);
