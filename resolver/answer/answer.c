/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/answer.h"

#include <string.h>

#include "common/base/error.h"
#include "resolver/answer/additional.h"
#include "resolver/answer/cookies.h"
#include "resolver/limits.h"
#include "resolver/answer/reply.h"

enum {
  RCODE_YXDOMAIN = 6,
  RR_HEAD = 12,
};

/* The name being looked for, while aliases are followed. */
typedef struct walk {
  const view_t *view;
  zone_in_view_t zone;
  dns_name_t name; /* lower-case */
  size_t name_at;  /* where it stands in the message */
  size_t origin_at;
  unsigned hops; /* aliases followed so far: their names and rrsets */
  dns_name_t seen[CHAIN_MAX];
  const zone_rrset_t *used[CHAIN_MAX];
  answer_trace_t *trace; /* NULL unless somebody asks why */
} walk_t;

/* Writes down the zone that w->name is looked for in, NULL for none. */
static void trace_zone(const walk_t *w, const zone_in_view_t *z)
{
  if (w->trace == NULL || w->trace->count == ANSWER_STEPS_MAX)
    return;
  answer_step_t *step = &w->trace->steps[w->trace->count++];
  *step = (answer_step_t){.name = w->name, .zone = {.view = w->view}};
  if (z != NULL)
    step->zone = *z;
}

static void trace_match(const walk_t *w, const zone_match_t *m)
{
  if (w->trace != NULL && w->trace->count > 0) {
    w->trace->steps[w->trace->count - 1].match = *m;
    w->trace->steps[w->trace->count - 1].zone = m->from;
  }
}

static void refuse(reply_t *r)
{
  r->rcode = DNS_RCODE_REFUSED;
  r->ede = EDE_NOT_AUTHORITATIVE;
}

static void put_negative(reply_t *r, const walk_t *w)
{
  if (!reply_put(r, REPLY_AUTHORITY, zone_negative_soa(w->zone), w->origin_at, w->origin_at))
    r->flags |= DNS_FLAG_TC;
}

static bool name_seen(const walk_t *w)
{
  for (unsigned i = 0; i < w->hops; i++)
    if (dns_name_equal(&w->seen[i], &w->name))
      return true;
  return false;
}

/* A wildcard's or DNAME's rrset may serve several names of one chain. */
static bool rrset_used(const walk_t *w, const zone_rrset_t *set)
{
  for (unsigned i = 0; i < w->hops; i++)
    if (w->used[i] == set)
      return true;
  return false;
}

/* Where the last len bytes of w->name stand: an alias' target may end in a pointer anywhere. */
static size_t end_at(const reply_t *r, const walk_t *w, size_t len)
{
  size_t skip = w->name.len - len;
  return w->hops == 0 ? w->name_at + skip : reply_name_at(r, w->name_at, skip);
}

/* Finds the zone of w->name and the place of its origin. */
static bool enter_zone(const reply_t *r, walk_t *w, uint16_t type)
{
  zone_in_view_t z;
  bool found = view_zone_for(w->view, &w->name, type, &z);
  trace_zone(w, found ? &z : NULL);
  if (!found)
    return false;
  w->origin_at = end_at(r, w, zone_origin(z.zone)->len);
  w->zone = z;
  return true;
}

/* Address records of the servers of a delegation, from this zone alone. Those that lie below the
 * delegation cannot be found elsewhere, so without room for them the answer is cut (RFC 9471 section 3). */
static void put_glue(reply_t *r, const walk_t *w, const zone_match_t *m, size_t ns_at)
{
  static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};
  const dns_name_t *origin = zone_origin(w->zone.zone);
  const uint8_t *rr = zone_rrset_wire(m->rrset);
  dns_name_t cut = {.len = (uint8_t)m->owner_len};
  memcpy(cut.wire, w->name.wire + w->name.len - m->owner_len, m->owner_len);
  size_t at = ns_at;
  for (unsigned i = 0; i < m->rrset->count; i++) {
    dns_name_t target;
    zone_data_name(rr + RR_HEAD, origin, &target);
    for (size_t t = 0; t < 2; t++) {
      const zone_rrset_t *glue = zone_glue(m->from, &target, types[t]);
      if (glue != NULL && !reply_put(r, REPLY_ADDITIONAL, glue, at + RR_HEAD, w->origin_at) &&
          dns_name_under(&target, &cut))
        r->flags |= DNS_FLAG_TC;
    }
    size_t step = RR_HEAD + ((size_t)rr[10] << 8 | rr[11]);
    rr += step;
    at += step;
  }
}

static void put_answer(reply_t *r, const walk_t *w, const zone_match_t *m, uint16_t type)
{
  additional_of_t of = {m->rrset, r->at, &w->name, w->name_at, zone_origin(w->zone.zone)};
  if (!reply_put(r, REPLY_ANSWER, m->rrset, w->name_at, w->origin_at))
    r->flags |= DNS_FLAG_TC;
  else if (m->rrset->type == type) /* not for ANY, which is to be small */
    additional_put(r, w->view, &of);
}

static void put_referral(reply_t *r, const walk_t *w, const zone_match_t *m)
{
  size_t cut_at = end_at(r, w, m->owner_len);
  size_t ns_at = r->at;
  if (w->hops == 0)
    r->flags &= (uint16_t)~DNS_FLAG_AA;
  if (!reply_put(r, REPLY_AUTHORITY, m->rrset, cut_at, w->origin_at)) {
    r->flags |= DNS_FLAG_TC;
    return;
  }
  put_glue(r, w, m, ns_at);
}

/* The CNAME of w->name: true when its target is to be looked for. */
static bool follow_alias(reply_t *r, walk_t *w, const zone_match_t *m)
{
  size_t at = r->at;
  if (!reply_put(r, REPLY_ANSWER, m->rrset, w->name_at, w->origin_at)) {
    r->flags |= DNS_FLAG_TC;
    return false;
  }
  zone_data_name(zone_rrset_wire(m->rrset) + RR_HEAD, zone_origin(w->zone.zone), &w->name);
  w->name_at = at + RR_HEAD;
  return true;
}

/* RFC 6672 section 3.2: the DNAME, then the CNAME that it means for w->name. */
static bool follow_dname(reply_t *r, walk_t *w, const zone_match_t *m)
{
  size_t head = w->name.len - m->owner_len; /* the labels that stay */
  const uint8_t *rr = zone_rrset_wire(m->rrset);
  dns_name_t target;
  if (!rrset_used(w, m->rrset) &&
      !reply_put(r, REPLY_ANSWER, m->rrset, end_at(r, w, m->owner_len), w->origin_at)) {
    r->flags |= DNS_FLAG_TC;
    return false;
  }
  zone_data_name(rr + RR_HEAD, zone_origin(w->zone.zone), &target);
  if (head + target.len > DNS_NAME_MAX) {
    r->rcode = RCODE_YXDOMAIN;
    return false;
  }
  memmove(target.wire + head, target.wire, target.len);
  memcpy(target.wire, w->name.wire, head);
  target.len = (uint8_t)(target.len + head);
  uint32_t ttl = (uint32_t)rr[6] << 24 | (uint32_t)rr[7] << 16 | (uint32_t)rr[8] << 8 | rr[9];
  size_t target_at = reply_put_cname(r, w->name_at, ttl, &target);
  if (target_at == 0) {
    r->flags |= DNS_FLAG_TC;
    return false;
  }
  w->name = target;
  w->name_at = target_at;
  return true;
}

/* Adds what the zone entered has to say; true when an alias leads on. */
static bool answer_hop(reply_t *r, walk_t *w, uint16_t type)
{
  zone_match_t m;
  zone_match(w->zone, &w->name, type, &m);
  trace_match(w, &m);
  bool alias = m.kind == ZONE_ALIAS || m.kind == ZONE_DNAME;
  bool on = false;
  if (alias && name_seen(w))
    return false;
  if (alias)
    w->seen[w->hops] = w->name;
  switch (m.kind) {
  case ZONE_ANSWER:
    put_answer(r, w, &m, type);
    return false;
  case ZONE_ALIAS:
    on = follow_alias(r, w, &m);
    break;
  case ZONE_DNAME:
    on = follow_dname(r, w, &m) && type != DNS_TYPE_CNAME && type != DNS_TYPE_ANY;
    break;
  case ZONE_REFERRAL:
    put_referral(r, w, &m);
    return false;
  case ZONE_NXDOMAIN:
    r->rcode = DNS_RCODE_NXDOMAIN;
    put_negative(r, w);
    return false;
  case ZONE_NODATA:
    put_negative(r, w);
    return false;
  case ZONE_UNAVAILABLE: /* as BIND answers for a zone that it could not load */
    r->flags &= (uint16_t)~DNS_FLAG_AA;
    r->rcode = DNS_RCODE_SERVFAIL;
    r->ede = EDE_NOT_READY;
    return false;
  }
  w->used[w->hops++] = m.rrset;
  return on && w->hops < CHAIN_MAX;
}

/* A question, from its view's zones alone. An alias that leads out of them, round in a circle or on for
 * too long ends the answer there. */
static void answer_question(reply_t *r, const view_t *view, const query_t *q, exchange_note_t *note,
                            answer_trace_t *trace)
{
  walk_t w;
  w.trace = trace;
  w.view = view;
  w.name = q->name;
  w.name_at = DNS_HEADER_LEN;
  w.hops = 0;
  if (!enter_zone(r, &w, q->type)) {
    refuse(r);
    note->missing = (q->flags & DNS_FLAG_RD) != 0 && q->type != DNS_TYPE_ANY; /* RFC 8482: not for ANY */
    return;
  }
  note->zone = w.zone.zone;
  r->flags |= DNS_FLAG_AA;
  while (answer_hop(r, &w, q->type) && enter_zone(r, &w, q->type))
    ;
}

static bool is_question(const query_t *q)
{
  return dns_opcode(q->flags) == OPCODE_QUERY && q->klass == DNS_CLASS_IN && q->type != DNS_TYPE_AXFR &&
         q->type != DNS_TYPE_IXFR;
}

static size_t reply_cap(const query_t *q, const exchange_t *x)
{
  size_t limit = x->transport == EXCHANGE_TCP  ? MESSAGE_MAX
                 : q->udp_size < UDP_REPLY_MAX ? q->udp_size
                                               : UDP_REPLY_MAX;
  return x->cap < limit ? x->cap : limit;
}

/* Reads the message and begins the answer; false when out_len is all there is to send, 0 for nothing. */
static bool begin(exchange_t *x, query_t *q, reply_t *r)
{
  query_result_t result = query_read(x->msg, x->len, q);
  x->note = (exchange_note_t){0};
  if (result == QUERY_READ) {
    reply_begin(r, q, x->out, reply_cap(q, x));
    return true;
  }
  x->note.rcode = result == QUERY_NOTIMP ? DNS_RCODE_NOTIMP : DNS_RCODE_FORMERR;
  x->out_len = result == QUERY_DROP ? 0 : reply_bare(q, x->note.rcode, x->out);
  return false;
}

static void finish(exchange_t *x, const query_t *q, reply_t *r)
{
  x->out_len = reply_end(r, q);
  x->note.rcode = r->rcode;
  x->note.truncated = (r->flags & DNS_FLAG_TC) != 0;
  if (q->cookie_len > 0) {
    x->note.cookie_at = (uint16_t)r->cookie_at;
    x->note.cookie = q->cookie;
    x->note.server_cookie_len = (uint8_t)(q->cookie_len - COOKIE_CLIENT_LEN);
  }
}

void answer_traced(exchange_t *x, answer_trace_t *trace)
{
  query_t q;
  reply_t r;
  if (!begin(x, &q, &r))
    return;
  if (q.edns_version > 0)
    r.rcode = DNS_RCODE_BADVERS;
  else if (q.question_end == DNS_HEADER_LEN)
    r.rcode = DNS_RCODE_NOERROR; /* a cookie is asked for, nothing else */
  else if (x->chosen.view == NULL || !is_question(&q))
    refuse(&r);
  else
    answer_question(&r, x->chosen.view, &q, &x->note, trace);
  finish(x, &q, &r);
}

void answer_short(exchange_t *x)
{
  query_t q;
  reply_t r;
  if (!begin(x, &q, &r))
    return;
  if (q.cookie_len > 0)
    r.rcode = DNS_RCODE_BADCOOKIE;
  else
    r.flags |= DNS_FLAG_TC;
  finish(x, &q, &r);
}

void answer_filled(exchange_t *x, answer_fill_t fill, void *ctx)
{
  query_t q;
  reply_t r;
  if (!begin(x, &q, &r))
    return;
  fill(ctx, &q, &r);
  finish(x, &q, &r);
}

void answer(exchange_t *x)
{
  answer_traced(x, NULL);
}
