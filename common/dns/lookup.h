/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a DNS server for addresses and services: dns_channel.h sends and waits, our own reader takes the
 * answers apart (dns_wire.h). All calls on the loop's thread; callbacks too, never from inside the call
 * that asks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/diag.h"
#include "common/dns/dns_servers.h"
#include "common/dns/dns_wire.h"
#include "common/base/ip.h"

enum {
  LOOKUP_ADDRS_MAX = 16,                    /* addresses kept of one answer, A before AAAA */
  LOOKUP_SRVS_MAX = 16,                     /* SRV records kept */
  LOOKUP_PTRS_MAX = 256,                    /* PTR records kept */
  LOOKUP_CHAIN_MAX = 8,                     /* CNAMEs followed within one answer */
  LOOKUP_CHAINS_MAX = 2 * LOOKUP_CHAIN_MAX, /* within the answers for A and for AAAA */
  LOOKUP_TTL_MAX = 3600,                    /* seconds; longer ones are cut */
  LOOKUP_PENDING_MAX = 1024,                /* queries under way; more are SMPL_ELIMIT */
  /* An owner has at most one of so many parts of those that are left (share.h): 113 while he is alone. */
  LOOKUP_PART = 8,
  LOOKUP_OWNER_MAX = 64,            /* bytes of an owner's name that count, with NUL */
  LOOKUP_TIMEOUT_MS_DEFAULT = 2500, /* for a question, whatever its servers do */
  LOOKUP_NEXT_MS = 200, /* a server that said nothing for so long gets company: the next one is asked too */
  /* Questions at a server whose answers nobody waits for. It is then asked only where no other is left. */
  LOOKUP_LATE_MAX = 256,
  LOOKUP_TELL_MS = 60000, /* a server that is lost is told of in the log so often at most */
  /* By how much longer a question takes, at most, while only one server of all answers. */
  LOOKUP_ALONE_MS = (DNS_SERVERS_MAX - 1) * LOOKUP_NEXT_MS,
  LOOKUP_TICK_MS = 20, /* how exact these times are */
  LOOKUP_SERVERS_MAX = DNS_SERVERS_MAX,
};

typedef struct lookup lookup_t;
typedef struct lookup_query lookup_query_t;

typedef struct lookup_conf {
  const endpoint_t *servers;
  size_t server_count;
  const ip_t *source;  /* address to ask from, NULL: the system's choice */
  uint64_t timeout_ms; /* of a question; 0: the default */
} lookup_conf_t;

typedef struct lookup_addrs {
  size_t count;
  ip_t addrs[LOOKUP_ADDRS_MAX];
  /* Every CNAME target on the way of any of addrs, each once: those of the A answer, then those that only
   * the AAAA answer went over. 0: no alias. */
  size_t chain_count;
  dns_name_t chain[LOOKUP_CHAINS_MAX];
  /* Seconds: the least on the way, bounded by LOOKUP_TTL_MAX. */
  uint32_t ttl;
} lookup_addrs_t;

typedef struct lookup_srv {
  uint16_t priority, weight, port;
  dns_name_t target; /* lower-cased */
} lookup_srv_t;

typedef struct lookup_srvs {
  size_t count; /* in the order to try them: priority, then weight drawn at random (RFC 2782) */
  lookup_srv_t srvs[LOOKUP_SRVS_MAX];
  uint32_t ttl;
} lookup_srvs_t;

typedef struct lookup_ptrs {
  size_t count;                      /* in the order of the answer */
  dns_name_t names[LOOKUP_PTRS_MAX]; /* lower-cased */
  uint32_t ttl;
} lookup_ptrs_t;

/* err: SMPL_OK (count >= 1), SMPL_ENOENT (NXDOMAIN), SMPL_EINVAL (the name exists, without such a record),
 * SMPL_EDENIED (REFUSED), SMPL_ESERVER (SERVFAIL or another rcode), SMPL_EPROTO (malformed answer),
 * SMPL_ELIMIT (an alias chain too long), SMPL_ETIMEOUT, SMPL_ECLOSED (no server can be reached),
 * SMPL_ENOMEM. A server that times out, cannot be reached, refuses or fails is followed by the next one.
 * The result is borrowed for the call. */
typedef void (*lookup_addrs_cb)(void *ctx, int err, const lookup_addrs_t *result);
typedef void (*lookup_srvs_cb)(void *ctx, int err, const lookup_srvs_t *result);
typedef void (*lookup_ptrs_cb)(void *ctx, int err, const lookup_ptrs_t *result);

int lookup_new(uv_loop_t *loop, const lookup_conf_t *conf, lookup_t **out, diag_t *diag);
/* One more lookup_free is needed before it is freed. Returns lookup; NULL allowed. */
lookup_t *lookup_hold(lookup_t *lookup);
/* Pending callbacks are dropped, not called. NULL allowed. */
void lookup_free(lookup_t *lookup);

/* owner: for whom it is asked, a user say; SMPL_ELIMIT when he has his share of the queries under way,
 * those that he cancelled and that no server has answered yet included. NULL: for the program itself,
 * which may have all that there are.
 *
 * Asks for A and AAAA at once. name is absolute. *query (may be NULL) can be cancelled until the callback
 * runs. */
int lookup_addresses(lookup_t *lookup, const char *owner, const dns_name_t *name, lookup_addrs_cb cb,
                     void *ctx, lookup_query_t **query);
int lookup_services(lookup_t *lookup, const char *owner, const dns_name_t *name, lookup_srvs_cb cb, void *ctx,
                    lookup_query_t **query);
/* PTR records: names of service instances under a service (RFC 6763 §4.1), or of an address. */
int lookup_pointers(lookup_t *lookup, const char *owner, const dns_name_t *name, lookup_ptrs_cb cb, void *ctx,
                    lookup_query_t **query);
/* The callback will not be called. */
void lookup_cancel(lookup_query_t *query);
