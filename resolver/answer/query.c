/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/query.h"

#include <string.h>

#include "common/base/error.h"
#include "resolver/answer/cookies.h"
#include "resolver/limits.h"

enum { OPTION_COOKIE = 10 };

/* RFC 7873 section 5.2.2: eight bytes, or those and eight to 32 more. The first counts (section 5.2). */
static bool read_cookie(const uint8_t *data, size_t len, query_t *q)
{
  if (len != COOKIE_CLIENT_LEN &&
      (len < COOKIE_CLIENT_LEN + COOKIE_SERVER_MIN || len > COOKIE_CLIENT_LEN + COOKIE_SERVER_MAX))
    return false;
  if (q->cookie_len > 0)
    return true;
  q->cookie = data;
  q->cookie_len = (uint8_t)len;
  return true;
}

/* The options of an OPT only have to be well formed: none but the cookie is used (ECS least of all, invariant
 * 1). */
static bool options_fine(const uint8_t *msg, const dns_rr_t *rr, query_t *q)
{
  dns_wire_t w = dns_wire_of(msg, rr->rdata + rr->rdlen);
  w.at = rr->rdata;
  while (dns_wire_left(&w) > 0) {
    uint16_t code;
    uint16_t len;
    if (dns_wire_u16(&w, &code) || dns_wire_u16(&w, &len) || dns_wire_skip(&w, len))
      return false;
    if (code == OPTION_COOKIE && !read_cookie(msg + w.at - len, len, q))
      return false;
  }
  return true;
}

/* RFC 6891 section 6.1. */
static bool read_opt(const dns_rr_t *rr, query_t *q)
{
  if (q->has_edns || rr->owner.len != 1 || !options_fine(q->msg, rr, q))
    return false;
  q->has_edns = true;
  q->udp_size = rr->klass < UDP_REPLY_MIN ? UDP_REPLY_MIN : rr->klass;
  q->edns_version = (uint8_t)(rr->ttl >> 16);
  q->dnssec_ok = (rr->ttl & 0x8000) != 0;
  return true;
}

static bool read_records(dns_wire_t *w, const dns_header_t *h, query_t *q)
{
  size_t before = (size_t)h->ancount + h->nscount;
  size_t count = before + h->arcount;
  for (size_t i = 0; i < count; i++) {
    dns_rr_t rr;
    if (dns_wire_rr(w, &rr))
      return false;
    if (rr.type == DNS_TYPE_OPT && (i < before || !read_opt(&rr, q)))
      return false;
  }
  return dns_wire_left(w) == 0;
}

query_result_t query_read(const uint8_t *msg, size_t len, query_t *out)
{
  dns_wire_t w = dns_wire_of(msg, len);
  dns_header_t h;
  if (dns_wire_header(&w, &h) || (h.flags & DNS_FLAG_QR))
    return QUERY_DROP;
  out->msg = msg;
  out->flags = h.flags;
  unsigned opcode = dns_opcode(h.flags);
  if (opcode != OPCODE_QUERY && opcode != OPCODE_NOTIFY && opcode != OPCODE_UPDATE)
    return QUERY_NOTIMP;
  bool cookie_alone = h.qdcount == 0 && opcode == OPCODE_QUERY;
  if (cookie_alone)
    *out = (query_t){.msg = msg, .flags = h.flags, .name = {.len = 1}};
  else if (h.qdcount != 1 || dns_wire_question(&w, &out->name, &out->type, &out->klass))
    return QUERY_FORMERR;
  if (opcode == OPCODE_QUERY && (h.ancount > 0 || (h.nscount > 0 && out->type != DNS_TYPE_IXFR)))
    return QUERY_FORMERR;
  out->question_end = w.at;
  out->has_edns = false;
  out->dnssec_ok = false;
  out->edns_version = 0;
  out->cookie_len = 0;
  out->cookie = NULL;
  out->udp_size = UDP_REPLY_MIN;
  if (!read_records(&w, &h, out) || (cookie_alone && out->cookie_len == 0))
    return QUERY_FORMERR;
  dns_name_lower(&out->name);
  return QUERY_READ;
}

size_t query_pack(const query_t *q, uint8_t *out)
{
  size_t at = q->question_end;
  memcpy(out, q->msg, at);
  memset(out + 6, 0, DNS_HEADER_LEN - 6);
  out[11] = q->has_edns;
  if (!q->has_edns)
    return at;
  const uint8_t opt[] = {0,
                         0,
                         DNS_TYPE_OPT,
                         (uint8_t)(q->udp_size >> 8),
                         (uint8_t)q->udp_size,
                         0,
                         q->edns_version,
                         q->dnssec_ok ? 0x80 : 0,
                         0,
                         0,
                         q->cookie_len > 0 ? (uint8_t)(4 + q->cookie_len) : 0};
  memcpy(out + at, opt, sizeof opt);
  at += sizeof opt;
  if (q->cookie_len == 0)
    return at;
  const uint8_t option[] = {0, OPTION_COOKIE, 0, q->cookie_len};
  memcpy(out + at, option, sizeof option);
  memcpy(out + at + sizeof option, q->cookie, q->cookie_len);
  return at + sizeof option + q->cookie_len;
}
