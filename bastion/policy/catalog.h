/* SPDX-License-Identifier: Apache-2.0 */
/* Which services there are below a domain: DNS-SD's enumeration (RFC 6763 §4), PTR of _http._tcp.DOMAIN, then
 * the SRV record of each. Shared by all sessions and kept for its TTL, so that asking often costs the
 * resolver nothing. It does not decide who may see a name. All calls on the loop's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/policy/finder.h"

typedef struct catalog_name {
  char name[GRANT_NAME_MAX];   /* what the service is known by: its SRV record's owner without _http._tcp. */
  char target[GRANT_NAME_MAX]; /* where it stands: the SRV record's target */
  uint16_t port;
} catalog_name_t;

typedef struct catalog catalog_t;
typedef struct catalog_gather catalog_gather_t;
typedef void (*catalog_cb)(void *ctx);

/* world's lookup may change: catalog_forget then. */
int catalog_new(const finder_world_t *world, catalog_t **out);
/* No callback is called any more. NULL allowed. */
void catalog_free(catalog_t *catalog);
/* The names found so far count no more. */
void catalog_forget(catalog_t *catalog);

/* Makes these domains known (more than CATALOG_GATHER_MAX are left out), then calls cb once: for as long as
 * the call lasts catalog_names has them. cb may run before this returns; then *out is NULL. */
void catalog_gather(catalog_t *catalog, const char *const *domains, size_t count, catalog_cb cb, void *ctx,
                    catalog_gather_t **out);
/* cb will not be called. NULL allowed. */
void catalog_cancel(catalog_gather_t *gather);

/* In the order of their names; NULL and 0 if the domain is not known. */
const catalog_name_t *catalog_names(const catalog_t *catalog, const char *domain, size_t *count);
