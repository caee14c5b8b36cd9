/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/lookup_answer.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/error.h"

/* The cursor at the answer section, if this message answers the question at all. */
static int open_answer(const lookup_question_t *q, const uint8_t *msg, size_t len, dns_wire_t *w,
                       dns_header_t *h)
{
  dns_name_t name;
  uint16_t type, klass;
  *w = dns_wire_of(msg, len);
  if (dns_wire_header(w, h) || !(h->flags & DNS_FLAG_QR) || dns_opcode(h->flags) != 0 || h->qdcount != 1 ||
      dns_wire_question(w, &name, &type, &klass))
    return SMPL_EPROTO;
  if (type != q->type || klass != DNS_CLASS_IN || !dns_name_equal(&name, &q->asked))
    return SMPL_EPROTO;
  return SMPL_OK;
}

static void lower_ttl(uint32_t *ttl, uint32_t other)
{
  if (other < *ttl)
    *ttl = other;
}

/* Reads one record and its owner in lower case. */
static int next_rr(dns_wire_t *w, dns_rr_t *rr)
{
  if (dns_wire_rr(w, rr))
    return SMPL_EPROTO;
  dns_name_lower(&rr->owner);
  return SMPL_OK;
}

/* The target of current's CNAME in the answer section, if there is one. */
static int find_alias(dns_wire_t answers, unsigned count, const dns_name_t *current, dns_name_t *target,
                      uint32_t *ttl)
{
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    if (next_rr(&answers, &rr))
      return SMPL_EPROTO;
    if (rr.type != DNS_TYPE_CNAME || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, current))
      continue;
    dns_wire_t data = dns_wire_of(answers.data, rr.rdata + rr.rdlen);
    data.at = rr.rdata;
    if (dns_wire_name(&data, target) || dns_wire_left(&data) != 0)
      return SMPL_EPROTO;
    dns_name_lower(target);
    lower_ttl(ttl, rr.ttl);
    return SMPL_OK;
  }
  return SMPL_ENOENT;
}

static int follow_aliases(dns_wire_t answers, unsigned count, dns_name_t *current, lookup_addrs_t *out)
{
  for (;;) {
    dns_name_t target;
    int err = find_alias(answers, count, current, &target, &out->ttl);
    if (err)
      return err == SMPL_ENOENT ? SMPL_OK : err;
    if (out->chain_count == LOOKUP_CHAIN_MAX)
      return SMPL_ELIMIT;
    out->chain[out->chain_count++] = target;
    *current = target;
  }
}

static int take_addresses(dns_wire_t w, unsigned count, uint16_t type, const dns_name_t *owner,
                          lookup_addrs_t *out)
{
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  size_t size = type == DNS_TYPE_A ? 4 : 16;
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    if (next_rr(&w, &rr))
      return SMPL_EPROTO;
    if (rr.type != type || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, owner))
      continue;
    if (rr.rdlen != size)
      return SMPL_EPROTO;
    lower_ttl(&out->ttl, rr.ttl);
    if (out->count == LOOKUP_ADDRS_MAX)
      continue;
    ip_t *ip = &out->addrs[out->count++];
    memcpy(ip->b, mapped, sizeof mapped);
    memcpy(ip->b + sizeof ip->b - size, w.data + rr.rdata, size);
  }
  return SMPL_OK;
}

static int take_services(dns_wire_t w, unsigned count, const dns_name_t *owner, lookup_srvs_t *out)
{
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    if (next_rr(&w, &rr))
      return SMPL_EPROTO;
    if (rr.type != DNS_TYPE_SRV || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, owner))
      continue;
    lookup_srv_t srv;
    dns_wire_t data = dns_wire_of(w.data, rr.rdata + rr.rdlen);
    data.at = rr.rdata;
    if (dns_wire_u16(&data, &srv.priority) || dns_wire_u16(&data, &srv.weight) ||
        dns_wire_u16(&data, &srv.port) || dns_wire_name(&data, &srv.target) || dns_wire_left(&data) != 0)
      return SMPL_EPROTO;
    dns_name_lower(&srv.target);
    lower_ttl(&out->ttl, rr.ttl);
    if (out->count < LOOKUP_SRVS_MAX)
      out->srvs[out->count++] = srv;
  }
  return SMPL_OK;
}

static int take_pointers(dns_wire_t w, unsigned count, const dns_name_t *owner, lookup_ptrs_t *out)
{
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    dns_name_t name;
    if (next_rr(&w, &rr))
      return SMPL_EPROTO;
    if (rr.type != DNS_TYPE_PTR || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, owner))
      continue;
    dns_wire_t data = dns_wire_of(w.data, rr.rdata + rr.rdlen);
    data.at = rr.rdata;
    if (dns_wire_name(&data, &name) || dns_wire_left(&data) != 0)
      return SMPL_EPROTO;
    dns_name_lower(&name);
    lower_ttl(&out->ttl, rr.ttl);
    if (out->count < LOOKUP_PTRS_MAX)
      out->names[out->count++] = name;
  }
  return SMPL_OK;
}

static int kept(int err, size_t count)
{
  return err != SMPL_OK || count > 0 ? err : SMPL_EINVAL;
}

static int read_records(const lookup_question_t *q, dns_wire_t w, unsigned count, lookup_addrs_t *addrs,
                        lookup_srvs_t *srvs, lookup_ptrs_t *ptrs)
{
  dns_name_t owner = q->name;
  int err = follow_aliases(w, count, &owner, addrs);
  if (err)
    return err;
  if (q->type == DNS_TYPE_SRV && srvs != NULL) {
    srvs->ttl = addrs->ttl;
    err = take_services(w, count, &owner, srvs);
    return kept(err, srvs->count);
  }
  if (q->type == DNS_TYPE_PTR && ptrs != NULL) {
    ptrs->ttl = addrs->ttl;
    err = take_pointers(w, count, &owner, ptrs);
    return kept(err, ptrs->count);
  }
  err = take_addresses(w, count, q->type, &owner, addrs);
  return kept(err, addrs->count);
}

static int error_of(unsigned rcode)
{
  switch (rcode) {
  case DNS_RCODE_NOERROR:
    return SMPL_OK;
  case DNS_RCODE_NXDOMAIN:
    return SMPL_ENOENT;
  case DNS_RCODE_REFUSED:
    return SMPL_EDENIED;
  default:
    return SMPL_ESERVER;
  }
}

int lookup_answer_read(const lookup_question_t *question, const uint8_t *msg, size_t len,
                       lookup_addrs_t *addrs, lookup_srvs_t *srvs, lookup_ptrs_t *ptrs)
{
  dns_wire_t w;
  dns_header_t h;
  addrs->count = addrs->chain_count = 0;
  addrs->ttl = LOOKUP_TTL_MAX;
  if (srvs != NULL)
    srvs->count = 0;
  if (ptrs != NULL)
    ptrs->count = 0;
  int err = open_answer(question, msg, len, &w, &h);
  if (!err)
    err = error_of(h.flags & 15);
  if (err)
    return err;
  return h.flags & DNS_FLAG_TC ? SMPL_EAGAIN : read_records(question, w, h.ancount, addrs, srvs, ptrs);
}
