/* SPDX-License-Identifier: Apache-2.0 */
/* API keys at a sister of the account service: each is asked about there (POST /internal/v1/keys/introspect),
 * by the account service's private name, and the answer is kept for a short time. Requests that wait for the
 * same key share one question. No answer is no access: 503, never an open door, but for keys that were active
 * a moment ago: those are believed in for KEYCHECK_STALE_MS more while nobody can be asked. A revoked key
 * works here for at most KEYCHECK_ACTIVE_MS more, and KEYCHECK_STALE_MS on top while the account service
 * cannot be asked; never beyond its expiry.
 *
 * Keys with a right checksum cost nothing to make up. So new keys (those that were not active here lately)
 * have places of their own among the questions under way and the waiting requests. They are shared out by
 * source (strangers.h). Known keys go first, and always find one. Refused keys are remembered by source, too:
 * who fills that memory forgets his own. All on the loop's thread. */
#pragma once

#include "app/http/handler.h"
#include "app/services/caller.h"
#include "app/http/keys.h"
#include "app/services/sister.h"
#include "app/services/strangers.h"

enum {
  KEYCHECK_ACTIVE_MS = 30000,     /* an active key is believed in that long */
  KEYCHECK_STALE_MS = 60000,      /* and that much longer while the account service cannot be asked */
  KEYCHECK_STALE_RETRY_MS = 2000, /* meanwhile it is asked again that often */
  KEYCHECK_REFUSED_MS = 5000,     /* an unknown key is refused that long without a question */
  KEYCHECK_ACTIVE_MAX = 4096,     /* keys kept */
  KEYCHECK_ACTIVE_SHARE = 16, /* an account with more than one in so many of them gives up its longest unused
                                 for another; if there is none, the longest unused of all goes */
  KEYCHECK_REFUSED_MAX =
      4096, /* apart, so that made-up keys cannot drive out real ones; whose source has most goes first */
  KEYCHECK_ASKED_MAX = 64,  /* questions under way; more are queued */
  KEYCHECK_QUEUE_MS = 3000, /* a question waits that long for its turn, then 503 */
  KEYCHECK_WAITING_MAX =
      1024, /* requests with known keys waiting for an answer, by account: the newest of whichever
                                  has most gives way, with 503 unless its key is still believed in */
  KEYCHECK_TIMEOUT_MS = 3000, /* of one question */
};

_Static_assert((int)STRANGERS_ASKED_MAX < (int)SISTER_CONNECTIONS_MAX, "known keys find a connection");
_Static_assert((int)KEYCHECK_ASKED_MAX <= (int)SISTER_CALLS_MAX, "no question is refused for want of a call");
_Static_assert((int)KEYCHECK_TIMEOUT_MS > (int)LOOKUP_TIMEOUT_MS_DEFAULT,
               "a lookup says what is wrong before its caller gives up");

typedef struct keycheck keycheck_t;

/* What asks: sisters_call bound to the account service, or a test's. Same contract as sisters_call. */
typedef int (*keycheck_ask)(void *ctx, const json_t *question, const char *id, sister_cb cb, void *cb_ctx);

/* rates: how much good keys may send, borrowed; NULL: no limit. */
int keycheck_new(keycheck_ask ask, void *ask_ctx, rates_t *rates, keycheck_t **out);
/* Not while requests wait. NULL allowed. */
void keycheck_free(keycheck_t *keycheck);

/* Replies 401, 429 or 503, or goes on with cb (perhaps before returning). */
void keycheck_guard(keycheck_t *keycheck, request_t *request, caller_cb cb, void *service);

/* Entries now kept, for tests and status. */
void keycheck_counts(const keycheck_t *keycheck, size_t *active, size_t *refused, size_t *waiting);
