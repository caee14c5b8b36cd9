/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool ip_is_v4(const ip_t *ip)
{
  return memcmp(ip->b, mapped, sizeof mapped) == 0;
}

bool ip_equal(const ip_t *a, const ip_t *b)
{
  return memcmp(a->b, b->b, sizeof a->b) == 0;
}

int ip_compare(const ip_t *a, const ip_t *b)
{
  return memcmp(a->b, b->b, sizeof a->b);
}

int ip_parse(const char *text, ip_t *out)
{
  if (inet_pton(AF_INET, text, out->b + 12) == 1) {
    memcpy(out->b, mapped, sizeof mapped);
    return SMPL_OK;
  }
  return inet_pton(AF_INET6, text, out->b) == 1 ? SMPL_OK : SMPL_EINVAL;
}

/* Clears the bits after the prefix; says whether any was set. */
static bool mask(ip_t *ip, unsigned prefix)
{
  bool any = false;
  for (unsigned i = 0; i < 16; i++) {
    unsigned keep = prefix >= 8 * (i + 1) ? 8 : prefix <= 8 * i ? 0 : prefix - 8 * i;
    uint8_t m = (uint8_t)(0xff00u >> keep);
    if ((ip->b[i] & (uint8_t)~m) != 0)
      any = true;
    ip->b[i] &= m;
  }
  return any;
}

int ip_net_parse(const char *text, ip_net_t *out)
{
  char addr[IP_TEXT_MAX];
  const char *slash = strchr(text, '/');
  size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
  if (len >= sizeof addr)
    return SMPL_EINVAL;
  memcpy(addr, text, len);
  addr[len] = '\0';
  if (ip_parse(addr, &out->base))
    return SMPL_EINVAL;
  bool dotted = strchr(addr, ':') == NULL;
  uint64_t prefix = dotted ? 32 : 128;
  if (slash != NULL &&
      (strlen(slash + 1) > 3 || text_parse_u64(slash + 1, strlen(slash + 1), prefix, &prefix)))
    return SMPL_EINVAL;
  if (dotted)
    prefix += 96;
  out->prefix = (uint8_t)prefix;
  return mask(&out->base, out->prefix) ? SMPL_ELIMIT : SMPL_OK;
}

int endpoint_parse(const char *text, endpoint_t *out)
{
  char addr[IP_TEXT_MAX];
  const char *colon = strrchr(text, ':');
  if (colon == NULL)
    return SMPL_EINVAL;
  bool bracket = text[0] == '[';
  const char *start = bracket ? text + 1 : text;
  const char *end = bracket ? colon - 1 : colon;
  if (end < start || (bracket && *end != ']') || (size_t)(end - start) >= sizeof addr)
    return SMPL_EINVAL;
  memcpy(addr, start, (size_t)(end - start));
  addr[end - start] = '\0';
  if (bracket != (strchr(addr, ':') != NULL) || ip_parse(addr, &out->ip))
    return SMPL_EINVAL;
  uint64_t port;
  if (strlen(colon + 1) > 5 || text_parse_u64(colon + 1, strlen(colon + 1), UINT16_MAX, &port))
    return SMPL_EINVAL;
  out->port = (uint16_t)port;
  return SMPL_OK;
}

/* Written once a request behind a balancer: inet_ntop would take a tenth of that request's time. */
static char *format_v4(const uint8_t *b, char *buf)
{
  char *to = buf;
  for (size_t i = 0; i < 4; i++) {
    if (b[i] >= 100)
      *to++ = (char)('0' + b[i] / 100);
    if (b[i] >= 10)
      *to++ = (char)('0' + b[i] / 10 % 10);
    *to++ = (char)('0' + b[i] % 10);
    *to++ = '.';
  }
  to[-1] = '\0';
  return buf;
}

char *ip_format(const ip_t *ip, char *buf)
{
  if (ip_is_v4(ip))
    return format_v4(ip->b + 12, buf);
  if (inet_ntop(AF_INET6, ip->b, buf, IP_TEXT_MAX) == NULL)
    buf[0] = '\0';
  return buf;
}

char *ip_net_format(const ip_net_t *net, char *buf)
{
  ip_format(&net->base, buf);
  unsigned prefix = ip_net_is_v4(net) ? net->prefix - 96u : net->prefix;
  size_t used = strlen(buf);
  snprintf(buf + used, IP_NET_TEXT_MAX - used, "/%u", prefix);
  return buf;
}

char *endpoint_format(const endpoint_t *ep, char *buf)
{
  char ip[IP_TEXT_MAX];
  ip_format(&ep->ip, ip);
  snprintf(buf, ENDPOINT_TEXT_MAX, ip_is_v4(&ep->ip) ? "%s:%u" : "[%s]:%u", ip, (unsigned)ep->port);
  return buf;
}

bool ip_net_is_v4(const ip_net_t *net)
{
  return net->prefix >= 96 && ip_is_v4(&net->base);
}

bool ip_net_contains(const ip_net_t *net, const ip_t *ip)
{
  if (ip_net_is_v4(net) != ip_is_v4(ip))
    return false;
  ip_t masked = *ip;
  mask(&masked, net->prefix);
  return ip_equal(&masked, &net->base);
}

bool ip_is_loopback(const ip_t *ip)
{
  static const uint8_t v6[16] = {[15] = 1};
  return ip_is_v4(ip) ? ip->b[12] == 127 : memcmp(ip->b, v6, sizeof v6) == 0;
}

bool ip_is_private(const ip_t *ip)
{
  if (ip_is_loopback(ip))
    return true;
  if (!ip_is_v4(ip))
    return (ip->b[0] & 0xfe) == 0xfc;
  const uint8_t *v4 = ip->b + 12;
  return v4[0] == 10 || (v4[0] == 172 && (v4[1] & 0xf0) == 16) || (v4[0] == 192 && v4[1] == 168) ||
         (v4[0] == 100 && (v4[1] & 0xc0) == 64);
}

bool ip_is_unspecified(const ip_t *ip)
{
  static const uint8_t zero[16];
  return memcmp(ip->b, zero, sizeof zero) == 0 || (ip_is_v4(ip) && memcmp(ip->b + 12, zero, 4) == 0);
}

int endpoint_from_sockaddr(const struct sockaddr *sa, endpoint_t *out)
{
  if (sa->sa_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, sa, sizeof in);
    memcpy(out->ip.b, mapped, sizeof mapped);
    memcpy(out->ip.b + 12, &in.sin_addr, 4);
    out->port = ntohs(in.sin_port);
    return SMPL_OK;
  }
  if (sa->sa_family == AF_INET6) {
    struct sockaddr_in6 in6;
    memcpy(&in6, sa, sizeof in6);
    memcpy(out->ip.b, &in6.sin6_addr, 16);
    out->port = ntohs(in6.sin6_port);
    return SMPL_OK;
  }
  return SMPL_EINVAL;
}

socklen_t endpoint_to_sockaddr(const endpoint_t *ep, struct sockaddr_storage *sa)
{
  memset(sa, 0, sizeof *sa);
  if (ip_is_v4(&ep->ip)) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(ep->port)};
    memcpy(&in.sin_addr, ep->ip.b + 12, 4);
    memcpy(sa, &in, sizeof in);
    return sizeof in;
  }
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(ep->port)};
  memcpy(&in6.sin6_addr, ep->ip.b, 16);
  memcpy(sa, &in6, sizeof in6);
  return sizeof in6;
}
