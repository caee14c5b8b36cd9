/* SPDX-License-Identifier: Apache-2.0 */
/* The replies that every handler needs. */
#pragma once

#include "app/http/handler.h"
#include "app/store/jsonapi.h"
#include "app/store/problem.h"

enum {
  RETRY_AFTER_SECONDS = 1,
  RETRY_AFTER_FULL_SECONDS = 30, /* of a full disk, which needs somebody's hands */
};

/* Replies with the problem. */
void problem_reply(request_t *request, const problem_t *problem);

void reply_not_found(request_t *request, const char *what, const char *id);
/* 503 with Retry-After. */
void reply_unavailable(request_t *request, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What a call of the store ended with: 503 for SMPL_EBUSY, SMPL_ELIMIT, SMPL_ECLOSED, SMPL_ETIMEOUT and
 * SMPL_EFULL, 500 for the rest. */
void reply_storage_error(request_t *request, int err);
/* The same of a read. */
void reply_read_error(request_t *request, int err);
/* The document, or 500 if it is NULL. */
void jsonapi_reply(request_t *request, int status, json_t *document);
