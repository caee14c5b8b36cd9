/* SPDX-License-Identifier: Apache-2.0 */
/* The whole decision on one request's head, in one place: gate, rules, host, site, route, method, media type,
 * body size. Pure but for reading the listener's immutable table. The result is either the route to run or
 * one refusal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/gate/gate.h"
#include "app/http/handler.h"
#include "app/http/router.h"
#include "app/gate/rules.h"
#include "app/http/keys.h"

/* What a listener decides by. Everything is borrowed and immutable. */
typedef struct admit_conf {
  bool internal; /* its rules admit an internal-tier route */
  const rule_t *rules;
  size_t rule_count;
  const char *const *hosts; /* names an internal listener answers to besides its own address and localhost */
  size_t host_count;
  const char *own_address; /* as text, without brackets or port */
  const router_t *router;
} admit_conf_t;

/* Refusals beyond the gate's: name for the log, status, text for people. */
#define ADMIT_LIST(X)                                                                                        \
  X(OK, "admitted", 0, "")                                                                                   \
  X(GATE, "", 400, "") /* the gate's own verdict says it */                                                  \
  X(NO_RULE, "no-rule", 404, "no such path")                                                                 \
  X(NO_ROUTE, "no-route", 404, "no such path")                                                               \
  X(HOST_UNKNOWN, "host-unknown", 421, "this listener does not answer for that Host")                        \
  X(CROSS_SITE, "cross-site", 403, "requests from pages of another site are refused")                        \
  X(METHOD, "method-not-allowed", 405, "this path has no such method")                                       \
  X(ACCEPT, "not-acceptable", 406, "the answer is application/vnd.api+json or application/json")             \
  X(QUERY_COUNT, "too-many-parameters", 400, "more than 128 query parameters")                               \
  X(BODY_SIZE, "body-too-long", 413, "the body is longer than 1 MiB")                                        \
  X(BODY_MISSING, "body-missing", 400, "this operation needs a JSON body")                                   \
  X(MEDIA_TYPE, "media-type", 415, "the body must be application/vnd.api+json or application/json")          \
  X(KEY_MISSING, "key-missing", 401, KEY_MISSING_TEXT)                                                       \
  X(KEY_MALFORMED, "key-malformed", 401, KEY_MALFORMED_TEXT)                                                 \
  X(CALLER_MISSING, "caller-missing", 401,                                                                   \
    "this operation needs an internal key: Authorization: Bearer " KEY_INTERNAL_PREFIX "...")                \
  X(CALLER_UNKNOWN, "caller-unknown", 401, "this is no internal key that is accepted here")                  \
  X(CALLER_FORBIDDEN, "caller-forbidden", 403, "this internal key does not allow this operation")            \
  X(BODIES_FULL, "bodies-full", 503, "too many request bodies are on their way; try again")                  \
  X(BODY_JSON, "body-malformed", 400,                                                                        \
    "the body is not acceptable JSON") /* found after the head, by the body's reader */

typedef enum admit_verdict {
#define ADMIT_ENUM(id, name, status, text) ADMIT_##id,
  ADMIT_LIST(ADMIT_ENUM)
#undef ADMIT_ENUM
      ADMIT_COUNT
} admit_verdict_t;

typedef struct admit {
  admit_verdict_t verdict;
  gate_verdict_t gate; /* says why when verdict is ADMIT_GATE */
  bool keep_alive;     /* what the client asked for */
  const rule_t *rule;  /* the first that matched, or NULL */
  route_match_t match;
} admit_t;

/* Decides. *head is complete unless the verdict is ADMIT_GATE. */
void admit_decide(const admit_conf_t *conf, const uint8_t *bytes, size_t len, gate_head_t *head,
                  admit_t *out);

/* True if the public listener answers this refusal with its one 404 or 400, whose bytes never differ. */
bool admit_is_plain(admit_verdict_t verdict);
const char *admit_reason(const admit_t *admit);
/* How far from unmistakable the request was, in the four classes of desync mitigation: "compliant",
 * "acceptable" (above a limit, or merely odd), "ambiguous" (readers differ), "severe" (no HTTP). */
const char *admit_class(const admit_t *admit);
const char *admit_text(const admit_t *admit);
int admit_status(const admit_t *admit);
