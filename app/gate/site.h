/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts an internal listener answers to, and which of a browser's requests come from another site. Pure
 * functions: header values in, decision out. They are what stands between a developer's open tunnel and a
 * hostile web page. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of text that need not end with NUL; at == NULL: the header is absent. */
typedef struct text_ref {
  const char *at;
  size_t len;
} text_ref_t;

/* Whether Host, as the gate admitted it, is known without its port. It may be one of names (count of them),
 * the listener's own address (as text, an IPv6 one without brackets), localhost, a name below localhost,
 * 127.0.0.1 or [::1]. Case does not count; the port is free, because a tunnel's local port is. */
bool site_host_known(text_ref_t host, const char *const *names, size_t count, const char *own_address);

typedef struct site_headers {
  bool get; /* GET or HEAD */
  text_ref_t host;
  text_ref_t origin;
  text_ref_t fetch_site, fetch_mode, fetch_dest; /* Sec-Fetch-* */
} site_headers_t;

/* True for a request that a page of another site makes the browser send; following a link to us is allowed.
 */
bool site_is_foreign(const site_headers_t *headers);
