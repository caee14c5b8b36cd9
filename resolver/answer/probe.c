/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/probe.h"

#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"

enum { QUERY_MAX = DNS_HEADER_LEN + DNS_NAME_MAX + 4 + 11, SECTIONS = 3 };

static size_t put(uint8_t *out, size_t at, const void *data, size_t len)
{
  memcpy(out + at, data, len);
  return at + len;
}

static size_t make_query(const dns_name_t *name, uint16_t type, uint8_t *out)
{
  static const uint8_t head[DNS_HEADER_LEN] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
  static const uint8_t opt[] = {0, 0, DNS_TYPE_OPT, UDP_REPLY_MAX >> 8, UDP_REPLY_MAX & 0xff, 0, 0, 0, 0,
                                0, 0};
  const uint8_t tail[] = {(uint8_t)(type >> 8), (uint8_t)type, 0, DNS_CLASS_IN};
  size_t at = put(out, 0, head, sizeof head);
  at = put(out, at, name->wire, name->len);
  at = put(out, at, tail, sizeof tail);
  return put(out, at, opt, sizeof opt);
}

void probe_ask(const view_t *view, exchange_transport_t transport, const dns_name_t *name, uint16_t type,
               probe_t *out)
{
  uint8_t query[QUERY_MAX];
  size_t len = make_query(name, type, query);
  exchange_t x = {.transport = transport,
                  .chosen = {.view = view},
                  .msg = query,
                  .len = len,
                  .out = out->wire,
                  .cap = transport == EXCHANGE_UDP ? UDP_REPLY_MAX : MESSAGE_MAX};
  out->trace.count = 0;
  answer_traced(&x, &out->trace);
  out->len = x.out_len;
  out->note = x.note;
}

uint16_t probe_flags(const probe_t *p)
{
  dns_wire_t w = dns_wire_of(p->wire, p->len);
  dns_header_t h = {0};
  return dns_wire_header(&w, &h) == 0 ? h.flags : (uint16_t)0;
}

/* "owner\tTTL\tclass\ttype\tdata\n" with blanks for tabs; where the type begins. */
static const char *one_line(char *text)
{
  unsigned tabs = 0;
  char *tail = text;
  for (char *c = text; *c != '\0'; c++) {
    if (*c == '\n')
      *c = '\0';
    else if (*c == '\t' && ++tabs == 3)
      tail = c + 1;
    if (*c == '\t')
      *c = ' ';
    if (*c == '\0')
      break;
  }
  return tail;
}

static int tell(const probe_t *p, dns_wire_t *w, unsigned section, probe_each_t each, void *ctx)
{
  dns_rr_t raw;
  ldns_rr *rr = NULL;
  size_t at = w->at;
  if (dns_wire_rr(w, &raw))
    return SMPL_EINVAL;
  if (raw.type == DNS_TYPE_OPT)
    return SMPL_OK;
  if (ldns_wire2rr(&rr, p->wire, p->len, &at, LDNS_SECTION_ANSWER) != LDNS_STATUS_OK)
    return SMPL_EINVAL;
  char *text = ldns_rr2str(rr);
  ldns_rr_free(rr);
  if (text == NULL)
    return SMPL_ENOMEM;
  const char *tail = one_line(text);
  each(ctx, section, &raw, text, tail);
  free(text);
  return SMPL_OK;
}

int probe_records(const probe_t *p, probe_each_t each, void *ctx)
{
  dns_wire_t w = dns_wire_of(p->wire, p->len);
  dns_header_t h;
  dns_name_t name;
  uint16_t type;
  uint16_t klass;
  int err = dns_wire_header(&w, &h);
  for (unsigned i = 0; !err && i < h.qdcount; i++)
    err = dns_wire_question(&w, &name, &type, &klass);
  if (err)
    return err;
  const unsigned counts[SECTIONS] = {h.ancount, h.nscount, h.arcount};
  for (unsigned s = 0; s < SECTIONS; s++)
    for (unsigned i = 0; !err && i < counts[s]; i++)
      err = tell(p, &w, s, each, ctx);
  return err;
}

int probe_type(const char *text, uint16_t *out)
{
  ldns_rr_type type = ldns_get_rr_type_by_name(text);
  if (type == 0 || (unsigned)type > UINT16_MAX || type == LDNS_RR_TYPE_OPT)
    return SMPL_EINVAL;
  *out = (uint16_t)type;
  return SMPL_OK;
}

char *probe_type_text(uint16_t type, char *buf)
{
  char *text = ldns_rr_type2str((ldns_rr_type)type);
  snprintf(buf, PROBE_TYPE_MAX, "%s", text != NULL ? text : "?");
  free(text);
  return buf;
}
