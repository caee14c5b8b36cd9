/* SPDX-License-Identifier: Apache-2.0 */
/* One request that writes: from its checked body to a job of the storage, and from the committed job to the
 * reply. */
#pragma once

#include "app/http/handler.h"
#include "app/services/caller.h"
#include "app/services/problem.h"
#include "app/services/storage.h"

typedef struct change change_t;
struct change {
  storage_job_t job; /* first: change.c's own */
  request_t *request;
  void *service;
  caller_t caller;
  const char *id;           /* of the resource; borrowed from the request */
  const char *new_id;       /* data.id of the body, may be NULL; the same */
  const json_t *attributes; /* the same; read only */
  int64_t now;              /* wall clock, ms */

  /* Writer thread. 0 with *document set (unless status is 204), or negative: with problem.status set that is
   * the reply, without it the reply follows from the error. Either way nothing stays written. */
  int (*run)(storage_db_t *db, change_t *change);
  /* Loop's thread, after the commit, instead of replying with document; NULL for the usual reply. */
  void (*committed)(change_t *change);

  storage_t *storage;             /* change.c's own, as what follows */
  int (*check)(change_t *change); /* until it was called */

  int status; /* of success: 200, 201 or 204 */
  json_t *document;
  char *text; /* of the document, made on the writer thread, which frees that; change.c's own */
  problem_t problem;
};

/* A change that lives as long as the request, with request, service, caller and now set; NULL: 500 was
 * replied. size is that of a struct whose first member is a change_t. caller may be NULL. */
void *change_new(request_t *request, size_t size, void *service, const caller_t *caller);
/* Calls check, where that holds up nobody (request_work): it reads the body, fills the change and touches
 * nothing else. Then the change is queued as by change_start, or refused with its problem (or 500). */
void change_check(storage_t *storage, change_t *change, int (*check)(change_t *change));
/* Queues it; the reply comes later (503 at once if the queue is full). */
void change_start(storage_t *storage, change_t *change);
