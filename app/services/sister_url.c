/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "app/services/sister.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* The host part of "host[:port]" into out->host, *rest behind it. Brackets of an IPv6 address are taken off.
 */
static int split_host(const char *authority, size_t len, sister_url_t *out, const char **rest,
                      size_t *rest_len)
{
  const char *end = authority + len;
  const char *from = authority, *to = memchr(authority, ':', len);
  if (to == NULL)
    to = end;
  *rest = to;
  if (len > 0 && authority[0] == '[') {
    from = authority + 1;
    to = memchr(authority, ']', len);
    if (to == NULL)
      return SMPL_EINVAL;
    *rest = to + 1;
  }
  size_t n = (size_t)(to - from);
  if (n == 0)
    return SMPL_EINVAL;
  if (n >= sizeof out->host)
    return SMPL_ELIMIT;
  for (size_t i = 0; i < n; i++)
    out->host[i] = text_lower(from[i]);
  out->host[n] = '\0';
  *rest_len = (size_t)(end - *rest);
  return SMPL_OK;
}

static int read_port(const char *s, size_t len, sister_url_t *out)
{
  uint64_t port;
  out->port = 0;
  if (len == 0)
    return SMPL_OK;
  if (s[0] != ':' || text_parse_u64(s + 1, len - 1, UINT16_MAX, &port) || port == 0)
    return SMPL_EINVAL;
  out->port = (uint16_t)port;
  return SMPL_OK;
}

/* Names of the kind that hosts have: what else DNS allows would only be confusing inside a Host field. */
static int read_name(sister_url_t *out)
{
  char service[SISTER_HOST_MAX + 16];
  size_t len = strlen(out->host);
  if (strspn(out->host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != len)
    return SMPL_EINVAL;
  if (out->host[len - 1] == '.')
    out->host[len - 1] = '\0';
  snprintf(service, sizeof service, "_http._tcp.%s", out->host);
  int err = dns_name_from_text(out->host, &out->name);
  if (!err)
    err = dns_name_from_text(service, &out->service);
  return !err && out->name.len == 1 ? SMPL_EINVAL : err;
}

static int parse(const char *text, sister_url_t *out)
{
  static const char scheme[] = "http://";
  if (strncmp(text, scheme, sizeof scheme - 1) != 0)
    return SMPL_EINVAL;
  const char *authority = text + sizeof scheme - 1;
  size_t len = strcspn(authority, "/");
  if (strcmp(authority + len, "") != 0 && strcmp(authority + len, "/") != 0)
    return SMPL_EINVAL;
  const char *rest = NULL;
  size_t rest_len = 0;
  int err = split_host(authority, len, out, &rest, &rest_len);
  if (!err)
    err = read_port(rest, rest_len, out);
  if (err)
    return err;
  out->literal = ip_parse(out->host, &out->ip) == SMPL_OK;
  if (authority[0] == '[' && (!out->literal || ip_is_v4(&out->ip)))
    return SMPL_EINVAL;
  return out->literal ? SMPL_OK : read_name(out);
}

int sister_url_parse(const char *text, sister_url_t *out, diag_t *diag)
{
  memset(out, 0, sizeof *out);
  int err = parse(text, out);
  if (err)
    return diag_fail(diag, err, "'%s': expected http://NAME or http://NAME:PORT", text);
  if (out->literal && !ip_is_private(&out->ip))
    return diag_fail(diag, SMPL_EINVAL,
                     "'%s': not a private address (RFC 1918, 100.64.0.0/10, fc00::/7 or loopback)", text);
  return SMPL_OK;
}
