/* SPDX-License-Identifier: Apache-2.0 */
/* A request under way: its own copy of the head, its memory, and where its reply goes. Private to the http
 * side; handlers see it through handler.h alone. All calls on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/http/admit.h"
#include "app/http/handler.h"
#include "common/base/ip.h"

struct conn;
struct reply_desk;

typedef struct requests requests_t;

typedef struct query_parameter {
  const char *name;
  const char *value;
} query_parameter_t;

typedef struct memory_block memory_block_t;

struct request {
  struct conn *conn;              /* NULL once the client has gone */
  requests_t *home;               /* where it goes back to */
  struct parse *parse;            /* where its body is parsed, if that is a big one */
  const struct reply_desk *desk;  /* where its reply is composed; no handler sees it */
  ip_t source;                    /* whose it is, for shares and limits */
  char client[ENDPOINT_TEXT_MAX]; /* the source, for the log: outlives the connection */
  char peer[ENDPOINT_TEXT_MAX];   /* the balancer that passed it on; empty if the peer is the source */
  turns_key_t account;            /* whose it is once that is known: request_is_of */
  struct request *next_free;
  uint8_t *bytes; /* copy of the head; names and values in it are cut with NULs */
  size_t length;
  admit_t admit;
  const char *parameters[LIMIT_ROUTE_PARAMETERS];
  query_parameter_t *queries;
  size_t query_count;
  uint8_t *body_bytes; /* malloc'ed, while the body is coming and is parsed */
  size_t body_have;    /* of head.length */
  size_t body_cap;     /* of body_bytes: grows as they come */
  json_t *body;
  size_t values;         /* in body, if it is a small one */
  struct parsed *parsed; /* parse.c's: the body, if it is a big one */
  uint64_t started_us;
  rate_t rate; /* limit 0: not counted */
  bool replied;
  bool owed;           /* a handler or guard has it and has not replied */
  bool more;           /* bytes came behind the head at once: no need to ask for the body */
  char *reply_headers; /* "Name: value\r\n" ... */
  size_t reply_headers_len;
  void (*keep)(void *ctx, shared_t *body); /* hears of the answer's body; NULL: nobody */
  void *keep_ctx;
  size_t memory_used;
  memory_block_t *blocks;
  size_t first_used;
  char id[LIMIT_REQUEST_ID + 1];
  char caller[INTERNAL_NAME_MAX]; /* whose internal key it bears; empty: nobody's */
  gate_head_t head;
  _Alignas(max_align_t) uint8_t first[1024]; /* serves small allocations without malloc */
};

/* Zeroes everything but the memory itself. */
void request_init(request_t *request);
/* Gives the request's memory back, not the request itself. */
void request_clear(request_t *request);

/* After admit_decide: copies the head, cuts its header lines, decodes path and query parameters. SMPL_ENOMEM.
 */
int request_take_head(request_t *request, const uint8_t *bytes, size_t len);

/* Whether the request may go on to a route that needs an API key, by the key's form alone (caller.h gives the
 * same two answers): ADMIT_OK, ADMIT_KEY_MISSING or ADMIT_KEY_MALFORMED. Without it a body would be read and
 * parsed for nobody. */
admit_verdict_t request_judge_key(const request_t *request);

/* The same for a route that has an operation: whether the request bears an internal key that allows it.
 * ADMIT_OK or one of ADMIT_CALLER_*. Notes whose key it is. */
admit_verdict_t request_judge_caller(request_t *request, const internal_keys_t *keys);

/* Parses a body. On error one line for the client in diag: SMPL_EINVAL, SMPL_ELIMIT (nested too deep, too
 * many values). Any thread. */
int request_json(const uint8_t *text, size_t len, json_t **out, diag_t *diag);

/* What parsing a text would make: a parsed value takes a hundred times the memory of its text. Exact for
 * JSON; of other text, never less than a parser makes of it before it gives up. Pure. */
typedef struct json_extent {
  size_t depth;  /* of nested arrays and objects */
  size_t values; /* scalars, arrays and objects */
} json_extent_t;

json_extent_t request_json_extent(const uint8_t *text, size_t len);

/* Decodes %XX (and '+' as a space if plus) from s[0..len) to dst, which takes len + 1 bytes. Pure. The gate
 * has seen s. */
void request_decode(char *dst, const uint8_t *s, size_t len, bool plus);

/* True for an id that may be taken over from X-Request-Id: 1 to LIMIT_REQUEST_ID of letters, digits, '.',
 * '_', '-'. */
bool request_id_is_fine(const char *id, size_t len);
