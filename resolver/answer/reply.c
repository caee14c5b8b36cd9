/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/reply.h"

#include <string.h>

#include "resolver/answer/cookies.h"
#include "resolver/limits.h"

enum {
  OPT_LEN = 11,
  EDE_LEN = 6,        /* an option with a code and no text */
  EDE_OPTION = 15,    /* RFC 8914 */
  COOKIE_OPTION = 10, /* RFC 7873 */
  COOKIE_LEN = 4 + COOKIE_CLIENT_LEN + COOKIE_SERVER_LEN,
  POINTER_MAX = 0x3fff,
  RR_HEAD = 12, /* owner pointer, type, class, TTL, length */
};

/* What an answer repeats of a query: opcode, RD and CD. */
static const uint16_t kept_flags = 0x7800 | DNS_FLAG_RD | DNS_FLAG_CD;

static void put_u16(uint8_t *p, size_t v)
{
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

void reply_begin(reply_t *r, const query_t *q, uint8_t *out, size_t cap)
{
  *r = (reply_t){.out = out, .flags = (uint16_t)(DNS_FLAG_QR | (q->flags & kept_flags))};
  r->cap = cap - (q->has_edns ? OPT_LEN + EDE_LEN : 0) - (q->cookie_len > 0 ? COOKIE_LEN : 0);
  r->at = q->question_end; /* a header, a name of at most 255 bytes, four more: fits REPLY_CAP_MIN */
  memcpy(out, q->msg, q->question_end);
}

size_t reply_name_at(const reply_t *r, size_t at, size_t skip)
{
  for (;;) {
    while (r->out[at] >= 0xc0) /* all point backwards: what is in the message was written here or read */
      at = (size_t)(r->out[at] & 0x3f) << 8 | r->out[at + 1];
    if (skip == 0)
      return at;
    skip -= r->out[at] + 1u;
    at += r->out[at] + 1u;
  }
}

/* The name at `at`, by a pointer or, out of its reach, in full. False when it does not fit. */
static bool put_name(reply_t *r, size_t at)
{
  if (at <= POINTER_MAX) {
    if (r->cap - r->at < 2)
      return false;
    put_u16(r->out + r->at, 0xc000 | at);
    r->at += 2;
    return true;
  }
  for (;;) {
    at = reply_name_at(r, at, 0);
    size_t len = r->out[at] + 1u;
    if (r->cap - r->at < len)
      return false;
    memcpy(r->out + r->at, r->out + at, len);
    r->at += len;
    at += len;
    if (len == 1)
      return true;
  }
}

static bool put_bytes(reply_t *r, const uint8_t *p, size_t len)
{
  if (r->cap - r->at < len)
    return false;
  memcpy(r->out + r->at, p, len);
  r->at += len;
  return true;
}

/* One record of an rrset, rr bytes [from, to) of its wire, whose owner or origin no pointer reaches. */
static bool put_far_record(reply_t *r, const zone_rrset_t *set, size_t from, size_t to, size_t owner_at,
                           size_t origin_at)
{
  const uint8_t *wire = zone_rrset_wire(set);
  const uint16_t *patches = zone_rrset_patches(set);
  if (!put_name(r, owner_at) || !put_bytes(r, wire + from + 2, RR_HEAD - 2))
    return false;
  size_t data = r->at;
  size_t at = from + RR_HEAD;
  for (unsigned i = 0; i < set->patches; i++) {
    if (patches[i] < at || patches[i] >= to)
      continue;
    if (!put_bytes(r, wire + at, patches[i] - at) || !put_name(r, origin_at))
      return false;
    at = patches[i] + 2u;
  }
  if (!put_bytes(r, wire + at, to - at))
    return false;
  put_u16(r->out + data - 2, r->at - data);
  return true;
}

/* Beyond 16 KiB, so over TCP alone: records one by one. */
static bool put_far(reply_t *r, reply_section_t section, const zone_rrset_t *set, size_t owner_at,
                    size_t origin_at)
{
  const uint8_t *wire = zone_rrset_wire(set);
  size_t before = r->at;
  size_t from = 0;
  for (unsigned i = 0; i < set->count; i++) {
    size_t to = from + RR_HEAD + ((size_t)wire[from + 10] << 8 | wire[from + 11]);
    if (!put_far_record(r, set, from, to, owner_at, origin_at)) {
      r->at = before;
      return false;
    }
    from = to;
  }
  r->counts[section] = (uint16_t)(r->counts[section] + set->count);
  return true;
}

bool reply_put(reply_t *r, reply_section_t section, const zone_rrset_t *set, size_t owner_at,
               size_t origin_at)
{
  if (r->cap - r->at < set->wire_len)
    return false;
  if (owner_at > POINTER_MAX || (set->patches > 0 && origin_at > POINTER_MAX))
    return put_far(r, section, set, owner_at, origin_at);
  uint8_t *p = r->out + r->at;
  memcpy(p, zone_rrset_wire(set), set->wire_len);
  const uint16_t *patches = zone_rrset_patches(set);
  for (unsigned i = 0; i < set->patches; i++)
    put_u16(p + patches[i], 0xc000 | origin_at);
  if (owner_at != DNS_HEADER_LEN) {
    uint8_t *rr = p;
    for (unsigned i = 0; i < set->count; i++) {
      put_u16(rr, 0xc000 | owner_at);
      rr += RR_HEAD + ((size_t)rr[10] << 8 | rr[11]);
    }
  }
  r->at += set->wire_len;
  r->counts[section] = (uint16_t)(r->counts[section] + set->count);
  return true;
}

size_t reply_put_cname(reply_t *r, size_t owner_at, uint32_t ttl, const dns_name_t *target)
{
  if (r->cap - r->at < RR_HEAD + (size_t)target->len || owner_at > POINTER_MAX)
    return 0;
  uint8_t *p = r->out + r->at;
  put_u16(p, 0xc000 | owner_at);
  put_u16(p + 2, DNS_TYPE_CNAME);
  put_u16(p + 4, DNS_CLASS_IN);
  put_u16(p + 6, ttl >> 16);
  put_u16(p + 8, ttl & 0xffff);
  put_u16(p + 10, target->len);
  memcpy(p + RR_HEAD, target->wire, target->len);
  size_t target_at = r->at + RR_HEAD;
  r->at = target_at + target->len;
  r->counts[REPLY_ANSWER]++;
  return target_at;
}

/* RFC 7873 section 4: the client's part as it came, behind it room for ours. */
static void put_cookie(reply_t *r, const query_t *q)
{
  uint8_t *p = r->out + r->at;
  put_u16(p, COOKIE_OPTION);
  put_u16(p + 2, COOKIE_LEN - 4);
  memcpy(p + 4, q->cookie, COOKIE_CLIENT_LEN);
  r->cookie_at = r->at + 4 + COOKIE_CLIENT_LEN;
  memset(r->out + r->cookie_at, 0, COOKIE_SERVER_LEN);
  r->at += COOKIE_LEN;
}

/* RFC 6891 section 6.1.2, RFC 8914 section 2. */
static void put_opt(reply_t *r, const query_t *q)
{
  uint8_t *p = r->out + r->at;
  p[0] = 0;
  put_u16(p + 1, DNS_TYPE_OPT);
  put_u16(p + 3, UDP_REPLY_MAX);
  p[5] = (uint8_t)(r->rcode >> 4);
  p[6] = 0;
  put_u16(p + 7, q->dnssec_ok ? 0x8000 : 0);
  put_u16(p + 9, (r->ede != 0 ? EDE_LEN : 0u) + (q->cookie_len > 0 ? COOKIE_LEN : 0u));
  r->at += OPT_LEN;
  if (r->ede != 0) {
    put_u16(p + 11, EDE_OPTION);
    put_u16(p + 13, 2);
    put_u16(p + 15, r->ede);
    r->at += EDE_LEN;
  }
  if (q->cookie_len > 0)
    put_cookie(r, q);
  r->counts[REPLY_ADDITIONAL]++;
}

size_t reply_end(reply_t *r, const query_t *q)
{
  if (q->has_edns)
    put_opt(r, q);
  put_u16(r->out + 2, r->flags | (r->rcode & 15u));
  put_u16(r->out + 4, q->question_end > DNS_HEADER_LEN);
  for (size_t i = 0; i < REPLY_SECTIONS; i++)
    put_u16(r->out + 6 + 2 * i, r->counts[i]);
  return r->at;
}

size_t reply_bare(const query_t *q, uint16_t rcode, uint8_t *out)
{
  memset(out, 0, DNS_HEADER_LEN);
  memcpy(out, q->msg, 2);
  put_u16(out + 2, DNS_FLAG_QR | (q->flags & kept_flags) | rcode);
  return DNS_HEADER_LEN;
}
