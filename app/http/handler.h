/* SPDX-License-Identifier: Apache-2.0 */
/* What a service is made of: routes with handlers, and what a handler can see of a request. There is no way
 * here to ask which http listener a request came by (invariant 6): do not add one.
 *
 * Handlers run on the loop's thread and must not block. A handler leads to exactly one request_reply*, now or
 * later, also when the client has gone meanwhile (the reply is then dropped). The request lives until it is
 * replied to. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/http/internal_keys.h"
#include "app/http/shared.h"
#include "common/base/diag.h"
#include "common/base/ip.h"
#include "common/base/turns.h"

typedef struct request request_t;

typedef enum tier { TIER_API, TIER_INTERNAL } tier_t;

typedef enum method {
  METHOD_GET,
  METHOD_POST,
  METHOD_PUT,
  METHOD_DELETE,
  METHOD_COUNT
} method_t; /* HEAD is GET without body */

/* One row routes; what the OpenAPI document says of it stands in a file (api_file_t) under its operation_id.
 */
typedef struct route {
  method_t method;
  const char
      *path; /* "/api/v1/configs/{id}": the tier's prefix, then literal segments or whole {parameters} */
  tier_t tier;
  void (*handle)(request_t *request, void *service);
  const char *operation_id; /* "get_config"; NULL: not in the document */
  /* Who may, and how the document says so. OPERATION_CUSTOMER: requests without an API key, or with what
   * cannot be one, are answered with 401 before their body is read, and the service's guard is asked; the
   * handler itself checks once more. Operations of the internal tier: the caller's internal key must allow
   * it, else 401 or 403 before the body is read. */
  operation_t operation;
  const char *request_schema; /* name in the service's schemas, NULL: the route takes no body */
} route_t;

/* What the OpenAPI document says of routes: JSON, embedded from a file (app/program/openapi.h has its form).
 */
typedef struct api_file {
  const char *name; /* for messages */
  const char *text, *end;
} api_file_t;

/* What the program gives a service to work with. The loop is valid until close; the rest for the call, the
 * lookup for whoever holds it. */
typedef struct service_env {
  uv_loop_t *loop;
  const char *database;               /* path of the SQLite file */
  const char *revocations;            /* where revocations are written besides; NULL: nowhere */
  const char *accounts_url;           /* base URL of the account service, NULL for that service itself */
  const char *const *sister_urls;     /* base URLs of the services told of a new account; ends with NULL */
  struct lookup *lookup;              /* private DNS (common/dns/lookup.h) */
  const char *internal_key;           /* sent to sisters; NULL: none */
  uint64_t rate_requests, rate_burst; /* of one API key: a second, and at once; 0 requests: no limit */
  const ip_t *source; /* address to call sisters from (their `clients` lists decide by it): resolver.source of
                                     the configuration; NULL: the system's choice */
} service_env_t;

typedef enum tool_verb { TOOL_BACKUP, TOOL_RESTORE, TOOL_RESEND, TOOL_NOTICES } tool_verb_t;

/* A command about the service's database, beside the running service or without one. */
typedef struct tool_call {
  tool_verb_t verb;
  const char *database, *revocations; /* of the configuration; the latter NULL if it has none */
  const char *const *sister_urls;     /* the same; ends with NULL */
  const char *argument;               /* the backup, or a sister; may be NULL */
  bool force, trust_keys;
  void (*say)(void *ctx, const char *text); /* what comes of it: a sentence a call */
  bool (*stop)(void *ctx);                  /* whether to give up; asked often */
  void *ctx;
} tool_call_t;

typedef struct service {
  const char *name;  /* "config" */
  const char *title; /* "Smpl Config" */
  const char *description;
  const route_t *routes;
  size_t route_count;
  const api_file_t *api; /* ends with name == NULL */
  int (*open)(const service_env_t *env, void **state, diag_t *diag);
  /* Another env from now on, all of it or, with an error, nothing. Loop and database are those of before.
   * Requests and calls under way go on as they began. NULL: nothing of it matters to the service. */
  int (*reload)(void *state, const service_env_t *env, diag_t *diag);
  /* Called when no request is pending any more; all its uv handles are closed when done() is called. */
  void (*close)(void *state, void (*done)(void *ctx), void *ctx);
  /* Asked once the head of a request has come whose route needs a key, before any of its body is read:
   * nobody's body is collected or parsed without a good key. Leads to exactly one request_reply* or
   * request_go_on, now or later. NULL: bodies are read at once. */
  void (*guard)(request_t *request, void *service);
  /* Asked by /internal/v1/health: calls done once, now or later, with 0 if the store answers, else with why
   * not (for the call). Must be quick. May be NULL. */
  void (*check)(void *state, void (*done)(void *ctx, int err, const char *why), void *ctx);
  /* May be NULL. */
  int (*tool)(const tool_call_t *call, diag_t *diag);
  /* Asked by /internal/v1/ready: calls say with a sentence for each thing that an operator has to look into,
   * while all is served. Then done, once, now or later. May be NULL. */
  void (*notices)(void *state, void (*say)(void *ctx, const char *text), void (*done)(void *ctx), void *ctx);
  /* Asked by /internal/v1/metrics: calls say for each number of its own, named "smpl_app_..." ("..._total" if
   * it only grows) with a sentence, both literals. Then done, once, now or later. May be NULL. */
  void (*gauges)(void *state, void (*say)(void *ctx, const char *name, const char *help, double value),
                 void (*done)(void *ctx), void *ctx);
} service_t;

/* Path parameter by the name in the route's pattern, percent-decoded, NUL-terminated; NULL if the route has
 * none so named. Decoding yields no '/', NUL or control characters: such requests were refused. */
const char *request_parameter(const request_t *request, const char *name);
/* Query parameter, decoded ("page[number]"); the first if there are several; NULL if absent. */
const char *request_query(const request_t *request, const char *name);
/* Calls each for every query parameter, in order; stops when it returns non-zero and returns that. */
int request_query_each(const request_t *request, int (*each)(void *ctx, const char *name, const char *value),
                       void *ctx);
/* Path and query as sent: requests of one route that have the same ask the same. */
const char *request_target(const request_t *request, size_t *len);
/* Header value by lower-case name; NULL if absent. */
const char *request_header(const request_t *request, const char *name);
/* Who sent it, as far as addresses tell: for sharing places out among strangers, never for what is answered.
 */
const ip_t *request_source(const request_t *request);
/* The Bearer token of Authorization; NULL if there is none. */
const char *request_bearer(const request_t *request);
/* Name of the internal caller, whose key allows the route's operation; NULL if the route has none. */
const char *request_caller(const request_t *request);
/* What a client with a key may still send. */
typedef struct rate {
  uint32_t limit;   /* requests at once */
  uint32_t left;    /* of them, now */
  uint32_t reset_s; /* until all are there again, if none comes meanwhile */
  uint32_t wait_s;  /* until there is one; 0 if there was */
} rate_t;

/* The reply will say so: RateLimit-Limit, -Remaining and -Reset (draft-ietf-httpapi-ratelimit-headers-06, the
 * last that has these fields). */
void request_set_rate(request_t *request, const rate_t *rate);
/* True once that was called: the request has been counted. */
bool request_is_rated(const request_t *request);
/* The body as parsed JSON (duplicate keys refused, depth bounded), borrowed; NULL when the route takes none.
 * Requests whose body is missing, no JSON or of another media type were answered (400, 415) before the
 * handler. */
const json_t *request_body(const request_t *request);
/* The service's guard has nothing against the request: its body may come, and then its handler's turn. */
void request_go_on(request_t *request);
/* Whose the request is where requests wait for each other: its source (an IPv4 address, an IPv6 /64) until
 * request_is_of says that it is an account's. account is text of at most TURNS_KEY_MAX bytes. */
turns_key_t request_share(const request_t *request);
void request_is_of(request_t *request, const char *account);
/* Looks at the body where that holds up nobody: work is called by a thread if the body is a big one, and done
 * afterwards on a later turn of the loop; otherwise both at once. work may read the body and write what ctx
 * leads to, and calls nothing else of this header. */
void request_work(request_t *request, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);
/* The request's id, for logs and calls to sisters. */
const char *request_id(const request_t *request);
/* Zeroed memory that lives as long as the request; NULL when out of memory. */
void *request_alloc(request_t *request, size_t size);

/* Replies. json's reference is taken over. Content-Type is application/vnd.api+json on the api tier,
 * application/json on the internal one. */
void request_reply(request_t *request, int status, json_t *json);
/* The same with JSON that is text already: malloc'ed, and taken over. NULL: 500. */
void request_reply_text(request_t *request, int status, char *json);
void request_reply_empty(request_t *request, int status); /* 204 */
/* If the reply turns out to be 200 with a body and without headers of the handler's own, keep is called with
 * the body before it is sent (borrowed; to keep it, shared_take): it may answer other requests by
 * request_reply_kept. */
void request_keep_body(request_t *request, void (*keep)(void *ctx, shared_t *body), void *ctx);
/* 200 with a body that was kept: byte for byte what request_reply made of it then. */
void request_reply_kept(request_t *request, shared_t *body);
/* JSON:API error (https://jsonapi.org/format/1.1/#errors). pointer ("/data/attributes/name") or parameter may
 * be NULL. */
void request_reply_error(request_t *request, int status, const char *title, const char *pointer,
                         const char *parameter, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Before the reply; value is copied. Names of ours only, never of the client's choice. */
void request_set_header(request_t *request, const char *name, const char *value);
