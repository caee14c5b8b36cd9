/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to sister services by their private names. A URL without a port is looked up as _http._tcp.NAME SRV
 * and then the addresses of its target; without such a record, NAME's own addresses and port 80. Names are
 * looked up again at every call, so a record that moved redirects the next one. No proxy, no redirects, no
 * DNS but the lookup given, and only to private addresses: what is sent holds keys. All on the loop's thread.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/limits.h"
#include "common/base/diag.h"
#include "common/dns/dns_wire.h"
#include "common/base/ip.h"
#include "common/dns/lookup.h"

/* "http://NAME[:PORT][/]", NAME a DNS name or an IP address. */
typedef struct sister_url {
  char host[SISTER_HOST_MAX]; /* lower case, without brackets */
  uint16_t port;              /* 0: none given */
  int literal;                /* host is an address: ip */
  ip_t ip;
  dns_name_t name, service; /* NAME and _http._tcp.NAME; unless literal */
} sister_url_t;

/* Pure. SMPL_EINVAL (also for an address that is not private: no call would be made to it), SMPL_ELIMIT; diag
 * quotes the URL. */
int sister_url_parse(const char *text, sister_url_t *out, diag_t *diag);

typedef struct sisters sisters_t;

typedef struct sister_request {
  const char *method; /* "GET", "POST", "PUT" */
  const char *base_url;
  const char *path;       /* "/internal/v1/..." */
  const json_t *body;     /* may be NULL; written before sisters_call returns */
  const char *request_id; /* X-Request-Id; may be NULL */
  uint64_t timeout_ms;    /* of the whole call, names included */
} sister_request_t;

/* err: SMPL_OK when there is a complete HTTP response, whatever its status; else why says in words what went
 * wrong, with the sister's name. All borrowed for the call of the callback. */
typedef struct sister_reply {
  int err;
  int status;
  const json_t *body; /* NULL if the response had none */
  const char *why;
} sister_reply_t;

typedef void (*sister_cb)(void *ctx, const sister_reply_t *reply);

/* lookup is held for as long as calls need it (lookup_hold); NULL: only addresses are called. source:
 * address to call from, NULL for the system's choice. key: the internal key that every call bears, NULL
 * for none; copied. */
int sisters_new(uv_loop_t *loop, lookup_t *lookup, const ip_t *source, const char *key, sisters_t **out,
                diag_t *diag);
/* The same three for the calls that begin from now on; those under way go on as they began. SMPL_ENOMEM
 * changes nothing. */
typedef struct sisters_way sisters_way_t;
int sisters_way_new(lookup_t *lookup, const ip_t *source, const char *key, sisters_way_t **out);
/* Takes it over. */
void sisters_use(sisters_t *sisters, sisters_way_t *way);
/* One that was not used. NULL allowed. */
void sisters_way_free(sisters_way_t *way);
/* Drops calls under way without calling back; done is called when every handle is closed. */
void sisters_close(sisters_t *sisters, void (*done)(void *ctx), void *ctx);

/* Calls back exactly once, later, unless this returns an error: SMPL_ELIMIT, SMPL_EINVAL (URL), SMPL_ENOMEM.
 */
int sisters_call(sisters_t *sisters, const sister_request_t *request, sister_cb cb, void *ctx);
