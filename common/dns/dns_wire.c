/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_wire.h"

#include <string.h>

#include "common/base/error.h"

/* The cursor and the name reader are written to be proved: simple loops, explicit bounds, no calls through
 * pointers, bytes copied one by one. Keep them so. */

/*@ predicate dns_wire_ok{L}(dns_wire_t *w) = \valid_read(w->data + (0 .. w->len - 1)) && w->at <= w->len; */

/*@ requires \valid(w) && dns_wire_ok(w) && \valid(out);
  @ requires \separated(w, out, w->data + (0 .. w->len - 1));
  @ assigns w->at, *out;
  @ ensures dns_wire_ok(w);
  @ ensures \result == 0 ==> w->at == \old(w->at) + 1;
  @ ensures \result != 0 ==> w->at == \old(w->at);
  @*/
int dns_wire_u8(dns_wire_t *w, uint8_t *out)
{
  if (w->len - w->at < 1)
    return SMPL_ETRUNC;
  *out = w->data[w->at];
  w->at += 1;
  return SMPL_OK;
}

/*@ requires \valid(w) && dns_wire_ok(w) && \valid(out);
  @ requires \separated(w, out, w->data + (0 .. w->len - 1));
  @ assigns w->at, *out;
  @ ensures dns_wire_ok(w);
  @ ensures \result == 0 ==> w->at == \old(w->at) + 2;
  @ ensures \result != 0 ==> w->at == \old(w->at);
  @*/
int dns_wire_u16(dns_wire_t *w, uint16_t *out)
{
  if (w->len - w->at < 2)
    return SMPL_ETRUNC;
  *out = (uint16_t)((unsigned)w->data[w->at] << 8 | w->data[w->at + 1]);
  w->at += 2;
  return SMPL_OK;
}

/*@ requires \valid(w) && dns_wire_ok(w) && \valid(out);
  @ requires \separated(w, out, w->data + (0 .. w->len - 1));
  @ assigns w->at, *out;
  @ ensures dns_wire_ok(w);
  @ ensures \result == 0 ==> w->at == \old(w->at) + 4;
  @ ensures \result != 0 ==> w->at == \old(w->at);
  @*/
int dns_wire_u32(dns_wire_t *w, uint32_t *out)
{
  if (w->len - w->at < 4)
    return SMPL_ETRUNC;
  *out = (uint32_t)w->data[w->at] << 24 | (uint32_t)w->data[w->at + 1] << 16 |
         (uint32_t)w->data[w->at + 2] << 8 | w->data[w->at + 3];
  w->at += 4;
  return SMPL_OK;
}

/*@ requires \valid(w) && dns_wire_ok(w);
  @ requires \separated(w, w->data + (0 .. w->len - 1));
  @ assigns w->at;
  @ ensures dns_wire_ok(w);
  @ ensures \result == 0 ==> w->at == \old(w->at) + n;
  @ ensures \result != 0 ==> w->at == \old(w->at);
  @*/
int dns_wire_skip(dns_wire_t *w, size_t n)
{
  if (w->len - w->at < n)
    return SMPL_ETRUNC;
  w->at += n;
  return SMPL_OK;
}

/* Ends always: a label makes the name longer (at most DNS_NAME_MAX), a pointer makes `start` smaller and
 * is counted. */
/*@ requires \valid(w) && dns_wire_ok(w) && \valid(out);
  @ requires \separated(w, out, w->data + (0 .. w->len - 1));
  @ assigns w->at, *out;
  @ ensures dns_wire_ok(w);
  @ ensures \result == 0 ==> 1 <= out->len <= DNS_NAME_MAX;
  @ ensures \result != 0 ==> w->at == \old(w->at);
  @*/
int dns_wire_name(dns_wire_t *w, dns_name_t *out)
{
  size_t at = w->at;    /* the next length byte */
  size_t start = w->at; /* where this sequence of labels began */
  size_t after = 0;     /* where the name ends in the message, once a pointer was met */
  unsigned hops = 0;
  size_t n = 0;
  size_t label;
  /*@ loop invariant start <= at <= w->len;
    @ loop invariant after <= w->len;
    @ loop invariant n <= DNS_NAME_MAX;
    @ loop invariant hops <= DNS_NAME_HOPS_MAX;
    @ loop assigns at, start, after, hops, n, label, out->wire[0 .. DNS_NAME_MAX - 1];
    @ loop variant (DNS_NAME_HOPS_MAX - hops) * (DNS_NAME_MAX + 1) + (DNS_NAME_MAX - n);
    @*/
  do {
    if (at >= w->len)
      return SMPL_ETRUNC;
    label = w->data[at];
    if (label >= 0xc0) {
      if (w->len - at < 2)
        return SMPL_ETRUNC;
      size_t target = (label & 0x3f) << 8 | w->data[at + 1];
      if (target >= start || target < DNS_HEADER_LEN || hops >= DNS_NAME_HOPS_MAX)
        return SMPL_EINVAL;
      if (hops == 0)
        after = at + 2;
      hops += 1;
      at = target;
      start = target;
      continue; /* label is not 0 here: the loop goes on */
    }
    if (label > DNS_LABEL_MAX)
      return SMPL_EINVAL;
    if (w->len - at < label + 1)
      return SMPL_ETRUNC;
    if (DNS_NAME_MAX - n < label + 1)
      return SMPL_ELIMIT;
    /*@ loop invariant 0 <= i <= label + 1;
      @ loop assigns i, out->wire[0 .. DNS_NAME_MAX - 1];
      @ loop variant label + 1 - i;
      @*/
    for (size_t i = 0; i <= label; i++)
      out->wire[n + i] = w->data[at + i];
    n += label + 1;
    at += label + 1;
  } while (label != 0);
  out->len = (uint8_t)n;
  w->at = hops == 0 ? at : after;
  return SMPL_OK;
}

int dns_wire_header(dns_wire_t *w, dns_header_t *out)
{
  if (dns_wire_left(w) < DNS_HEADER_LEN)
    return SMPL_ETRUNC;
  dns_wire_u16(w, &out->id);
  dns_wire_u16(w, &out->flags);
  dns_wire_u16(w, &out->qdcount);
  dns_wire_u16(w, &out->ancount);
  dns_wire_u16(w, &out->nscount);
  dns_wire_u16(w, &out->arcount);
  return SMPL_OK;
}

int dns_wire_question(dns_wire_t *w, dns_name_t *name, uint16_t *type, uint16_t *klass)
{
  dns_wire_t c = *w;
  int err = dns_wire_name(&c, name);
  if (!err)
    err = dns_wire_u16(&c, type);
  if (!err)
    err = dns_wire_u16(&c, klass);
  if (err)
    return err;
  w->at = c.at;
  return SMPL_OK;
}

int dns_wire_rr(dns_wire_t *w, dns_rr_t *out)
{
  dns_wire_t c = *w;
  int err = dns_wire_name(&c, &out->owner);
  if (!err)
    err = dns_wire_u16(&c, &out->type);
  if (!err)
    err = dns_wire_u16(&c, &out->klass);
  if (!err)
    err = dns_wire_u32(&c, &out->ttl);
  if (!err)
    err = dns_wire_u16(&c, &out->rdlen);
  if (err)
    return err;
  out->rdata = c.at;
  err = dns_wire_skip(&c, out->rdlen);
  if (err)
    return err;
  w->at = c.at;
  return SMPL_OK;
}

static uint8_t lower(uint8_t c)
{
  return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* Length bytes are at most 63 and so never taken for capitals. */
void dns_name_lower(dns_name_t *name)
{
  for (size_t i = 0; i < name->len; i++)
    name->wire[i] = lower(name->wire[i]);
}

bool dns_name_equal(const dns_name_t *a, const dns_name_t *b)
{
  return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

bool dns_name_under(const dns_name_t *name, const dns_name_t *parent)
{
  size_t at = 0;
  while (name->len - at > parent->len)
    at += (size_t)name->wire[at] + 1;
  return name->len - at == parent->len && memcmp(name->wire + at, parent->wire, parent->len) == 0;
}

unsigned dns_name_labels(const dns_name_t *name)
{
  unsigned n = 0;
  for (size_t at = 0; name->wire[at] != 0; at += (size_t)name->wire[at] + 1)
    n++;
  return n;
}

/* One character of a label, escaped or not, at *text; moves past it. */
static int text_byte(const char **text, uint8_t *out)
{
  const char *s = *text;
  if (s[0] != '\\') {
    *out = (uint8_t)s[0];
    *text = s + 1;
    return SMPL_OK;
  }
  if (s[1] == '\0')
    return SMPL_EINVAL;
  if (s[1] < '0' || s[1] > '9') {
    *out = (uint8_t)s[1];
    *text = s + 2;
    return SMPL_OK;
  }
  if (s[2] < '0' || s[2] > '9' || s[3] < '0' || s[3] > '9')
    return SMPL_EINVAL;
  int v = (s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0');
  if (v > 255)
    return SMPL_EINVAL;
  *out = (uint8_t)v;
  *text = s + 4;
  return SMPL_OK;
}

int dns_name_from_text(const char *text, dns_name_t *out)
{
  size_t n = 0;
  if (text[0] == '\0')
    return SMPL_EINVAL;
  if (text[0] == '.' && text[1] == '\0')
    text++;
  while (*text != '\0') {
    size_t head = n++; /* the label's length byte; the root's comes after it, so one byte stays free */
    size_t label = 0;
    while (*text != '\0' && *text != '.') {
      uint8_t c;
      int err = text_byte(&text, &c);
      if (err)
        return err;
      if (label == DNS_LABEL_MAX || n >= DNS_NAME_MAX - 1)
        return SMPL_ELIMIT;
      out->wire[n++] = c;
      label++;
    }
    if (label == 0)
      return SMPL_EINVAL;
    out->wire[head] = (uint8_t)label;
    if (*text == '.')
      text++;
    if (*text != '\0' && n >= DNS_NAME_MAX - 1)
      return SMPL_ELIMIT;
  }
  out->wire[n++] = 0;
  out->len = (uint8_t)n;
  return SMPL_OK;
}

char *dns_name_to_text(const dns_name_t *name, char *buf)
{
  static const char special[] = ".\\\"();@$";
  size_t used = 0;
  for (size_t at = 0; name->wire[at] != 0; at += (size_t)name->wire[at] + 1) {
    for (size_t i = 1; i <= name->wire[at]; i++) {
      uint8_t c = name->wire[at + i];
      if (c <= 0x20 || c >= 0x7f) {
        buf[used++] = '\\';
        buf[used++] = (char)('0' + c / 100);
        buf[used++] = (char)('0' + c / 10 % 10);
        buf[used++] = (char)('0' + c % 10);
        continue;
      }
      if (strchr(special, c) != NULL)
        buf[used++] = '\\';
      buf[used++] = (char)c;
    }
    buf[used++] = '.';
  }
  if (used == 0)
    buf[used++] = '.';
  buf[used] = '\0';
  return buf;
}
