/* SPDX-License-Identifier: Apache-2.0 */
#include "app/gate/site.h"

#include <string.h>

#include "common/base/text.h"

static bool same_nocase(text_ref_t a, const char *b, size_t len)
{
  if (a.len != len)
    return false;
  for (size_t i = 0; i < len; i++)
    if (text_lower(a.at[i]) != text_lower(b[i]))
      return false;
  return true;
}

static bool is(text_ref_t value, const char *word)
{
  return value.len == strlen(word) && memcmp(value.at, word, value.len) == 0;
}

/* Cuts ":port" off, and the brackets of an IPv6 address. */
static text_ref_t without_port(text_ref_t host)
{
  if (host.len > 0 && host.at[0] == '[') {
    const char *close = memchr(host.at, ']', host.len);
    return close == NULL ? host : (text_ref_t){host.at + 1, (size_t)(close - host.at) - 1};
  }
  const char *colon = memchr(host.at, ':', host.len);
  return colon == NULL ? host : (text_ref_t){host.at, (size_t)(colon - host.at)};
}

bool site_host_known(text_ref_t host, const char *const *names, size_t count, const char *own_address)
{
  static const char below_localhost[] = ".localhost";
  size_t below = sizeof below_localhost - 1;
  if (host.at == NULL || host.len == 0)
    return false;
  bool bracketed = host.at[0] == '[';
  text_ref_t name = without_port(host);
  bool own_v6 = strchr(own_address, ':') != NULL;
  if (bracketed == own_v6 && same_nocase(name, own_address, strlen(own_address)))
    return true;
  if (bracketed)
    return is(name, "::1");
  if (is(name, "127.0.0.1") || same_nocase(name, "localhost", 9))
    return true;
  if (name.len > below &&
      same_nocase((text_ref_t){name.at + name.len - below, below}, below_localhost, below))
    return true;
  for (size_t i = 0; i < count; i++)
    if (same_nocase(name, names[i], strlen(names[i])))
      return true;
  return false;
}

/* "http://localhost:8080" belongs to "localhost:8080". "null" and other schemes belong to nobody. */
static bool origin_is_host(text_ref_t origin, text_ref_t host)
{
  static const char *const schemes[] = {"http://", "https://"};
  for (size_t i = 0; i < 2; i++) {
    size_t len = strlen(schemes[i]);
    if (origin.len > len && memcmp(origin.at, schemes[i], len) == 0)
      return same_nocase((text_ref_t){origin.at + len, origin.len - len}, host.at, host.len);
  }
  return false;
}

bool site_is_foreign(const site_headers_t *h)
{
  if (h->fetch_site.at == NULL)
    return h->origin.at != NULL && !origin_is_host(h->origin, h->host);
  if (is(h->fetch_site, "same-origin") || is(h->fetch_site, "none"))
    return false;
  bool navigation = h->get && h->fetch_mode.at != NULL && is(h->fetch_mode, "navigate") &&
                    h->fetch_dest.at != NULL && is(h->fetch_dest, "document");
  return !navigation; /* cross-site, same-site, or a value that we do not know */
}
