/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "common/base/error.h"
#include "resolver/limits.h"
#include "resolver/view/settings.h"
#include "resolver/zone/zone_text.h"

static int load(const char *name, const char *text, zone_t **zone, diag_t *diag)
{
  dns_name_t origin;
  assert_int_equal(settings_origin(name, &origin), 0);
  size_t len = strlen(text);
  char *copy = malloc(len + 1); /* exact: no NUL after it */
  assert_non_null(copy);
  memcpy(copy, text, len);
  zone_contents_t *contents;
  *zone = NULL;
  int err = zone_read_text(name, &origin, "z", copy, len, &contents, diag);
  if (!err) {
    assert_int_equal(zone_new(name, &origin, "z", zone), 0);
    assert_null(zone_swap(*zone, contents));
  }
  free(copy);
  return err;
}

zone_t *harness_zone(const char *name, const char *text)
{
  zone_t *zone;
  diag_t diag = {""};
  if (load(name, text, &zone, &diag))
    fail_msg("%s", diag.text);
  return zone;
}

const char *harness_zone_error(const char *name, const char *text)
{
  static diag_t diag;
  zone_t *zone;
  diag = (diag_t){""};
  int err = load(name, text, &zone, &diag);
  assert_null(zone);
  assert_int_not_equal(err, 0);
  return diag.text;
}

view_t *harness_view(const char *name, zone_t *a, zone_t *b, zone_t *c)
{
  zone_t *zones[] = {a, b, c};
  size_t count = a == NULL ? 0 : b == NULL ? 1 : c == NULL ? 2 : 3;
  view_t *view;
  assert_int_equal(view_new(name, zones, count, &view), 0);
  return view;
}

size_t harness_query(const ask_t *ask, uint8_t *buf)
{
  dns_name_t name;
  assert_int_equal(dns_name_from_text(ask->name, &name), 0);
  uint16_t klass = ask->klass == 0 ? DNS_CLASS_IN : ask->klass;
  const uint8_t head[12] = {0x12, 0x34,     (uint8_t)(ask->flags >> 8), (uint8_t)ask->flags, 0, 1, 0, 0, 0, 0,
                            0,    ask->edns};
  memcpy(buf, head, sizeof head);
  size_t at = sizeof head;
  memcpy(buf + at, name.wire, name.len);
  at += name.len;
  const uint8_t tail[4] = {(uint8_t)(ask->type >> 8), (uint8_t)ask->type, (uint8_t)(klass >> 8),
                           (uint8_t)klass};
  memcpy(buf + at, tail, sizeof tail);
  at += sizeof tail;
  if (ask->edns) {
    uint16_t size = ask->size == 0 ? 1232 : ask->size;
    const uint8_t opt[11] = {0, 0, DNS_TYPE_OPT, (uint8_t)(size >> 8), (uint8_t)size, 0, ask->version, 0, 0,
                             0, 0};
    memcpy(buf + at, opt, sizeof opt);
    at += sizeof opt;
  }
  return at;
}

size_t harness_answer(const view_t *view, exchange_transport_t transport, const uint8_t *msg, size_t len,
                      uint8_t *out, size_t cap, exchange_note_t *note)
{
  exchange_t x = {
      .transport = transport, .chosen = {.view = view}, .msg = msg, .len = len, .out = out, .cap = cap};
  answer(&x);
  *note = x.note;
  return x.out_len;
}

size_t harness_short(const uint8_t *msg, size_t len, uint8_t *out, exchange_note_t *note)
{
  exchange_t x = {.transport = EXCHANGE_UDP, .msg = msg, .len = len, .out = out, .cap = UDP_REPLY_MAX};
  answer_short(&x);
  *note = x.note;
  return x.out_len;
}

size_t harness_ask(const view_t *view, const ask_t *ask, uint8_t *out)
{
  uint8_t buf[512];
  size_t len = harness_query(ask, buf);
  uint8_t *msg = malloc(len);
  size_t cap = ask->tcp ? MESSAGE_MAX : UDP_REPLY_MAX;
  uint8_t *reply = malloc(cap);
  assert_non_null(msg);
  assert_non_null(reply);
  memcpy(msg, buf, len);
  exchange_note_t note;
  size_t n = harness_answer(view, ask->tcp ? EXCHANGE_TCP : EXCHANGE_UDP, msg, len, reply, cap, &note);
  assert_true(n <= cap);
  memcpy(out, reply, n);
  free(msg);
  free(reply);
  return n;
}

static const char *rcode_text(unsigned rcode)
{
  static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
                                      "NOTIMP",  "REFUSED", "YXDOMAIN"};
  return rcode < 7 ? names[rcode] : "?";
}

static void append(char *out, const char *text)
{
  size_t used = strlen(out);
  assert_true(strlen(text) < HARNESS_TEXT - used);
  for (; *text != '\0'; text++)
    out[used++] = *text == '\t' ? ' ' : *text == '\n' ? ';' : *text;
  out[used] = '\0';
}

const char *harness_text(const view_t *view, const ask_t *ask)
{
  static char out[HARNESS_TEXT];
  static uint8_t wire[MESSAGE_MAX];
  static const char *const sections[] = {" | ", " | authority: ", " | additional: "};
  size_t len = harness_ask(view, ask, wire);
  out[0] = '\0';
  if (len == 0)
    return "(nothing)";
  dns_wire_t w = dns_wire_of(wire, len);
  dns_header_t h;
  assert_int_equal(dns_wire_header(&w, &h), 0);
  assert_int_equal(h.id, 0x1234);
  assert_true(h.flags & DNS_FLAG_QR);
  append(out, rcode_text(h.flags & 15));
  append(out, h.flags & DNS_FLAG_AA ? " aa" : "");
  append(out, h.flags & DNS_FLAG_TC ? " tc" : "");
  dns_name_t name;
  uint16_t type;
  uint16_t klass;
  for (unsigned i = 0; i < h.qdcount; i++)
    assert_int_equal(dns_wire_question(&w, &name, &type, &klass), 0);
  const unsigned counts[] = {h.ancount, h.nscount, h.arcount};
  size_t at = w.at;
  for (unsigned s = 0; s < 3; s++) {
    bool any = false;
    for (unsigned i = 0; i < counts[s]; i++) {
      ldns_rr *rr = NULL;
      dns_rr_t raw;
      w.at = at;
      assert_int_equal(dns_wire_rr(&w, &raw), 0);
      if (raw.type == DNS_TYPE_OPT) {
        at = w.at;
        continue;
      }
      assert_int_equal(ldns_wire2rr(&rr, wire, len, &at, LDNS_SECTION_ANSWER), LDNS_STATUS_OK);
      assert_int_equal(at, w.at);
      char *text = ldns_rr2str(rr);
      append(out, any ? " " : sections[s]);
      append(out, text);
      any = true;
      free(text);
      ldns_rr_free(rr);
    }
  }
  assert_int_equal(at, len);
  return out;
}
