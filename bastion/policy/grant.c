/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/grant.h"

#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"

#define V4(a, b, c, d)                                                                                       \
  {                                                                                                          \
    {                                                                                                        \
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d                                                   \
    }                                                                                                        \
  }

/* Addresses that a wide network must not let in by accident. The first row that contains an address counts.
 */
static const struct special {
  ip_net_t net;
  bool when_listed; /* may be reached through a network that lies within net */
} specials[] = {
    {{V4(0, 0, 0, 0), 96 + 8}, false},
    {{V4(127, 0, 0, 0), 96 + 8}, true},
    {{V4(169, 254, 0, 0), 96 + 16}, true},
    {{V4(224, 0, 0, 0), 96 + 4}, false},
    {{V4(240, 0, 0, 0), 96 + 4}, false},
    {{{{[15] = 1}}, 128}, true},                          /* ::1 */
    {{{{0}}, 96}, false},                                 /* ::, IPv4-compatible */
    {{{{0x00, 0x64, 0xff, 0x9b}}, 96}, true},             /* NAT64, RFC 6052 */
    {{{{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}}, 48}, true}, /* NAT64, RFC 8215 */
    {{{{0x20, 0x01, 0x00, 0x00}}, 32}, true},             /* Teredo */
    {{{{0x20, 0x02}}, 16}, true},                         /* 6to4 */
    {{{{0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}}, 128}, true}, /* metadata */
    {{{{0xfe, 0x80}}, 10}, true},                                                        /* link-local */
    {{{{0xfe, 0xc0}}, 10}, true}, /* site-local, RFC 3879 */
    {{{{0xff}}, 8}, false},       /* multicast */
};

bool grant_network_admits(const ip_net_t *network, const ip_t *address)
{
  if (!ip_net_contains(network, address))
    return false;
  for (size_t i = 0; i < COUNT_OF(specials); i++) {
    const ip_net_t *special = &specials[i].net;
    if (ip_net_contains(special, address))
      return specials[i].when_listed && network->prefix >= special->prefix;
  }
  return true;
}

static bool label_char(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Copies a name to lower case without its final dot, checking labels as in target.c. */
static int take_name(const char *text, size_t len, char *out)
{
  if (len > 0 && text[len - 1] == '.')
    len--;
  if (len == 0)
    return SMPL_EINVAL;
  if (len >= GRANT_NAME_MAX)
    return SMPL_ELIMIT;
  size_t label = 0;
  for (size_t i = 0; i < len; i++) {
    out[i] = text_lower(text[i]);
    if (out[i] == '.' && label == 0)
      return SMPL_EINVAL;
    if (out[i] != '.' && !label_char(out[i]))
      return SMPL_EINVAL;
    label = out[i] == '.' ? 0 : label + 1;
    if (label > 63)
      return SMPL_ELIMIT;
  }
  out[len] = '\0';
  return label == 0 ? SMPL_EINVAL : SMPL_OK;
}

static int parse_ports(const char *text, size_t len, grant_pattern_t *out)
{
  out->port_count = 0;
  if (len == 1 && text[0] == '*')
    return SMPL_OK;
  for (size_t at = 0; at <= len;) {
    const char *comma = memchr(text + at, ',', len - at);
    size_t stop = comma != NULL ? (size_t)(comma - text) : len;
    uint64_t port;
    if (stop - at > 5 || text_parse_u64(text + at, stop - at, UINT16_MAX, &port) || port == 0)
      return SMPL_EINVAL;
    if (out->port_count == GRANT_PORTS_MAX)
      return SMPL_ELIMIT;
    out->ports[out->port_count++] = (uint16_t)port;
    at = stop + 1;
  }
  return SMPL_OK;
}

static int parse_host(const char *text, size_t len, grant_pattern_t *out)
{
  char literal[IP_NET_TEXT_MAX];
  bool bracket = len >= 2 && text[0] == '[' && text[len - 1] == ']';
  size_t literal_len = bracket ? len - 2 : len;
  if (literal_len < sizeof literal) {
    memcpy(literal, text + (bracket ? 1 : 0), literal_len);
    literal[literal_len] = '\0';
    bool colon = strchr(literal, ':') != NULL;
    if (colon == bracket && ip_net_parse(literal, &out->net) == SMPL_OK &&
        colon == !ip_net_is_v4(&out->net)) {
      out->is_ip = true;
      return SMPL_OK;
    }
  }
  size_t stars = 0;
  while (stars < len && stars < 2 && text[stars] == '*')
    stars++;
  out->wild = stars == 2 ? GRANT_WILD_MANY : stars == 1 ? GRANT_WILD_ONE : GRANT_WILD_NONE;
  if (stars > 0 && stars == len)
    return SMPL_OK;
  if (stars > 0 && text[stars] != '.')
    return SMPL_EINVAL;
  size_t skip = stars > 0 ? stars + 1 : 0;
  return take_name(text + skip, len - skip, out->suffix);
}

int grant_pattern_parse(const char *text, size_t len, grant_pattern_t *out)
{
  memset(out, 0, sizeof *out);
  const char *colon = memrchr(text, ':', len);
  if (colon == NULL)
    return SMPL_EINVAL;
  size_t host_len = (size_t)(colon - text);
  int err = parse_host(text, host_len, out);
  return err ? err : parse_ports(colon + 1, len - host_len - 1, out);
}

static bool name_matches(const grant_pattern_t *pattern, const char *name)
{
  if (pattern->wild == GRANT_WILD_NONE)
    return strcmp(pattern->suffix, name) == 0;
  size_t name_len = strlen(name);
  size_t suffix_len = strlen(pattern->suffix);
  size_t wild_len = name_len; /* bytes that the wildcard stands for */
  if (suffix_len > 0) {
    if (name_len < suffix_len + 2 || name[name_len - suffix_len - 1] != '.' ||
        memcmp(name + name_len - suffix_len, pattern->suffix, suffix_len) != 0)
      return false;
    wild_len = name_len - suffix_len - 1;
  }
  if (wild_len == 0)
    return false;
  return pattern->wild == GRANT_WILD_MANY || memchr(name, '.', wild_len) == NULL;
}

static bool host_matches(const grant_pattern_t *pattern, const grant_target_t *target)
{
  if (pattern->is_ip != target->is_ip)
    return false;
  return target->is_ip ? ip_net_contains(&pattern->net, &target->ip) : name_matches(pattern, target->name);
}

static bool port_matches(const grant_pattern_t *pattern, uint16_t port)
{
  if (pattern->port_count == 0 || port == 0)
    return true;
  for (size_t i = 0; i < pattern->port_count; i++)
    if (pattern->ports[i] == port)
      return true;
  return false;
}

static bool in_list(const char *const *list, size_t count, const char *text)
{
  for (size_t i = 0; i < count; i++)
    if (strcmp(list[i], text) == 0)
      return true;
  return false;
}

bool grant_covers_subject(const grant_t *grant, const grant_subject_t *subject)
{
  if (in_list(grant->users, grant->user_count, subject->user))
    return true;
  for (size_t i = 0; i < subject->group_count; i++)
    if (in_list(grant->groups, grant->group_count, subject->groups[i]))
      return true;
  return false;
}

static bool admits(const grant_t *grant, const ip_t *address)
{
  for (size_t i = 0; i < grant->network_count; i++)
    if (grant_network_admits(&grant->networks[i], address))
      return true;
  return false;
}

/* How near to a grant a refusal is. */
static int nearness(reason_t reason)
{
  switch (reason) {
  case REASON_NONE:
    return 4;
  case REASON_ADDRESS_NOT_GRANTED:
    return 3;
  case REASON_OUTSIDE_HOURS:
    return 2;
  case REASON_PORT_NOT_GRANTED:
    return 1;
  default:
    return 0;
  }
}

grant_decision_t grant_nearer(grant_decision_t a, grant_decision_t b)
{
  return nearness(b.reason) > nearness(a.reason) ? b : a;
}

/* The reason gets nearer to a grant with each test that passes; the nearest one is told. address may be NULL.
 */
static void judge(const grant_t *grant, size_t index, const grant_target_t *target, const ip_t *address,
                  unsigned minute, grant_decision_t *d)
{
  bool in_force = hours_cover(grant->hours, grant->hour_count, minute);
  for (size_t t = 0; t < grant->target_count && d->reason != REASON_NONE; t++) {
    if (!host_matches(&grant->targets[t], target))
      continue;
    reason_t reason = !port_matches(&grant->targets[t], target->port) ? REASON_PORT_NOT_GRANTED
                      : !in_force                                     ? REASON_OUTSIDE_HOURS
                      : address != NULL && !admits(grant, address)    ? REASON_ADDRESS_NOT_GRANTED
                                                                      : REASON_NONE;
    *d = grant_nearer(*d, (grant_decision_t){reason, index, t});
  }
}

static grant_decision_t decide(const grant_t *grants, size_t count, const grant_subject_t *subject,
                               const grant_target_t *target, const ip_t *address)
{
  grant_decision_t d = {REASON_NOT_GRANTED, 0, 0};
  for (size_t g = 0; g < count && d.reason != REASON_NONE; g++)
    if (grant_covers_subject(&grants[g], subject))
      judge(&grants[g], g, target, address, subject->minute, &d);
  return d;
}

grant_decision_t grant_decide(const grant_t *grants, size_t count, const grant_subject_t *subject,
                              const grant_target_t *target)
{
  return decide(grants, count, subject, target, NULL);
}

grant_decision_t grant_decide_address(const grant_t *grants, size_t count, const grant_subject_t *subject,
                                      const grant_target_t *target, const ip_t *address)
{
  return decide(grants, count, subject, target, address);
}

unsigned grant_minutes_left(const grant_t *grants, size_t count, const grant_subject_t *subject,
                            const grant_target_t *target, const ip_t *address)
{
  grant_subject_t at = *subject;
  unsigned sum = 0;
  while (sum < HOURS_WEEK) {
    at.minute = (subject->minute + sum) % HOURS_WEEK;
    grant_decision_t d = decide(grants, count, &at, target, address);
    if (d.reason != REASON_NONE)
      return sum;
    sum += hours_left(grants[d.grant].hours, grants[d.grant].hour_count, at.minute);
  }
  return HOURS_WEEK;
}
