/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/destination.h"

#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/base/ip.h"

static int parse_host_port(const char *whole, const char *text, char *host, uint16_t *port, diag_t *diag)
{
  const char *end;
  size_t len;
  if (*text == '[') {
    len = strcspn(++text, "]");
    if (text[len] != ']')
      return diag_fail(diag, SMPL_EINVAL, "bastion '%s': ']' is missing", whole);
    end = text + len + 1;
  } else {
    len = strcspn(text, ":/");
    end = text + len;
  }
  ip_t ip;
  if (*text != '[' && strchr(text, ':') && ip_parse(text, &ip) == SMPL_OK)
    return diag_fail(diag, SMPL_EINVAL, "bastion '%s': an IPv6 address stands in brackets, as in [%s]", whole,
                     text);
  if (len == 0 || len >= HOST_MAX)
    return diag_fail(diag, SMPL_EINVAL, "bastion '%s': expected [USER@]HOST[:PORT]", whole);
  for (size_t i = 0; i < len; i++) {
    if (text[i] <= ' ' || text[i] > '~' || text[i] == '@' || text[i] == ',')
      return diag_fail(diag, SMPL_EINVAL, "bastion '%s': not a host's name or address", whole);
    host[i] = text[i];
  }
  host[len] = '\0';
  *port = 0;
  if (*end == '/' && end[1] == '\0')
    end++;
  if (*end == '\0')
    return SMPL_OK;
  uint64_t value;
  size_t digits = strcspn(++end, "/");
  if (end[-1] != ':' || (end[digits] != '\0' && end[digits + 1] != '\0') ||
      text_parse_u64(end, digits, UINT16_MAX, &value) != SMPL_OK || value == 0)
    return diag_fail(diag, SMPL_EINVAL, "bastion '%s': '%s' is not a port (1 to 65535)", whole, end);
  *port = (uint16_t)value;
  return SMPL_OK;
}

int destination_parse(const char *text, char *user, char *host, uint16_t *port, diag_t *diag)
{
  const char *rest = strncmp(text, "ssh://", 6) == 0 ? text + 6 : text;
  const char *at = strrchr(rest, '@');
  user[0] = '\0';
  if (at) {
    size_t len = (size_t)(at - rest);
    if (len == 0 || len >= USER_MAX)
      return diag_fail(diag, SMPL_EINVAL, "bastion '%s': expected [USER@]HOST[:PORT]", text);
    memcpy(user, rest, len);
    user[len] = '\0';
    rest = at + 1;
  }
  return parse_host_port(text, rest, host, port, diag);
}
