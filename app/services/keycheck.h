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

#include "app/limits.h"
#include "app/http/handler.h"
#include "app/services/caller.h"
#include "app/http/keys.h"
#include "app/services/sister.h"
#include "app/services/strangers.h"

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
