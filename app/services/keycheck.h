/* API keys at a sister of the account service: each is asked about there (POST /internal/v1/keys/introspect), by the
 * account service's private name, and the answer is kept for a short time. Requests that wait for the same key share one
 * question. No answer is no access: 503, never an open door. A revoked key works here for at most KEYCHECK_ACTIVE_MS more.
 * All on the loop's thread. */
#pragma once

#include "app/handler.h"
#include "app/services/caller.h"
#include "app/services/keys.h"
#include "app/services/sister.h"

enum {
  KEYCHECK_ACTIVE_MS = 30000,  /* an active key is believed in that long */
  KEYCHECK_REFUSED_MS = 5000,  /* an unknown one that long */
  KEYCHECK_ACTIVE_MAX = 4096,  /* keys kept, the longest unused go first */
  KEYCHECK_REFUSED_MAX = 4096, /* apart, so that made-up keys cannot drive out real ones */
  KEYCHECK_WAITING_MAX = 1024, /* requests waiting for an answer; more are 503 */
  KEYCHECK_TIMEOUT_MS = 3000,  /* of one question */
};

typedef struct keycheck keycheck_t;

/* What asks: sisters_call bound to the account service, or a test's. Same contract as sisters_call. */
typedef int (*keycheck_ask)(void *ctx, const json_t *question, const char *id, sister_cb cb, void *cb_ctx);

int keycheck_new(keycheck_ask ask, void *ask_ctx, keycheck_t **out);
/* Not while requests wait. NULL allowed. */
void keycheck_free(keycheck_t *keycheck);

/* Replies 401 or 503, or goes on with cb (perhaps before returning). */
void keycheck_guard(keycheck_t *keycheck, request_t *request, caller_cb cb, void *service);

/* Entries now kept, for tests and status. */
void keycheck_counts(const keycheck_t *keycheck, size_t *active, size_t *refused, size_t *waiting);
