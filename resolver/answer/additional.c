/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/additional.h"

#include <stdbool.h>

#include "resolver/limits.h"

enum {
  RR_HEAD = 12, /* owner pointer, type, class, TTL, length */
  NO_TARGET = 255,
};

/* Where the target stands in a record's data. */
static size_t target_in(uint16_t type)
{
  switch (type) {
  case DNS_TYPE_NS:
    return 0;
  case DNS_TYPE_MX:
  case DNS_TYPE_SVCB:
  case DNS_TYPE_HTTPS:
    return 2;
  case DNS_TYPE_SRV:
    return 6;
  default:
    return NO_TARGET;
  }
}

static bool is_svcb(uint16_t type)
{
  return type == DNS_TYPE_SVCB || type == DNS_TYPE_HTTPS;
}

static void put_type(reply_t *r, zone_in_view_t z, const dns_name_t *name, size_t name_at, uint16_t type,
                     bool glue)
{
  zone_match_t m;
  zone_match(z, name, type, &m);
  const zone_rrset_t *set = m.kind == ZONE_ANSWER             ? m.rrset
                            : m.kind == ZONE_REFERRAL && glue ? zone_glue(m.from, name, type)
                                                              : NULL;
  if (set != NULL)
    reply_put(r, REPLY_ADDITIONAL, set, name_at, 0); /* none of these types has a name that is shortened */
}

static bool among(const dns_name_t *names, size_t count, const dns_name_t *name)
{
  for (size_t i = 0; i < count; i++)
    if (dns_name_equal(&names[i], name))
      return true;
  return false;
}

void additional_put(reply_t *r, const view_t *view, const additional_of_t *of)
{
  dns_name_t targets[ADDITIONAL_TARGETS_MAX];
  uint16_t type = of->set->type;
  size_t before = target_in(type);
  if (before == NO_TARGET)
    return;
  const uint8_t *rr = zone_rrset_wire(of->set);
  size_t at = of->at;
  size_t count = 0;
  for (unsigned i = 0; i < of->set->count && count < ADDITIONAL_TARGETS_MAX; i++) {
    dns_name_t *target = &targets[count];
    size_t target_at = at + RR_HEAD + before;
    bool alias = is_svcb(type) && rr[RR_HEAD] == 0 && rr[RR_HEAD + 1] == 0;
    zone_data_name(rr + RR_HEAD + before, of->origin, target);
    if (target->len == 1 && is_svcb(type) && !alias) { /* RFC 9460 section 2.5.2: the owner itself */
      *target = *of->owner;
      target_at = of->owner_at;
    }
    zone_in_view_t z;
    if (target->len > 1 && !among(targets, count, target)) {
      count++;
      if (view_zone_for(view, target, DNS_TYPE_A, &z)) {
        if (alias)
          put_type(r, z, target, target_at, type, false);
        put_type(r, z, target, target_at, DNS_TYPE_A, type == DNS_TYPE_NS);
        put_type(r, z, target, target_at, DNS_TYPE_AAAA, type == DNS_TYPE_NS);
      }
    }
    size_t step = RR_HEAD + ((size_t)rr[10] << 8 | rr[11]);
    rr += step;
    at += step;
  }
}
