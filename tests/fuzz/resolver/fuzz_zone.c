/* SPDX-License-Identifier: Apache-2.0 */
/* A master file through scanner, record reader, checks and compiler; what loads is then asked for. Nothing
 * is included: the folder of the made-up path does not exist. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "resolver/answer/answer.h"
#include "resolver/limits.h"
#include "resolver/zone/zone_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what)
{
  if (condition)
    return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

static void ask(zone_t *zone, const char *name)
{
  static const uint8_t types[] = {DNS_TYPE_A, DNS_TYPE_NS, DNS_TYPE_SOA, DNS_TYPE_ANY};
  static uint8_t out[MESSAGE_MAX];
  view_t *view;
  dns_name_t n;
  require(view_new("v", &zone, 1, &view) == 0 && dns_name_from_text(name, &n) == 0, "view");
  for (size_t i = 0; i < sizeof types; i++) {
    uint8_t msg[DNS_HEADER_LEN + DNS_NAME_MAX + 4] = {0, 1, 0, 0, 0, 1};
    memcpy(msg + DNS_HEADER_LEN, n.wire, n.len);
    size_t at = DNS_HEADER_LEN + n.len;
    msg[at + 1] = types[i];
    msg[at + 3] = DNS_CLASS_IN;
    exchange_t x = {.transport = EXCHANGE_TCP,
                    .chosen = {.view = view},
                    .msg = msg,
                    .len = at + 4,
                    .out = out,
                    .cap = sizeof out};
    answer(&x);
    require(x.out_len >= at + 4, "an answer");
    dns_wire_t w = dns_wire_of(out, x.out_len);
    dns_header_t h;
    uint16_t type;
    uint16_t klass;
    require(dns_wire_header(&w, &h) == 0 && dns_wire_question(&w, &n, &type, &klass) == 0,
            "header and question");
    for (size_t r = 0; r < (size_t)h.ancount + h.nscount + h.arcount; r++) {
      dns_rr_t rr;
      require(dns_wire_rr(&w, &rr) == 0, "record");
    }
    require(dns_wire_left(&w) == 0, "nothing behind the records");
  }
  view_free(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  dns_name_t origin;
  zone_t *zone;
  zone_contents_t *contents;
  diag_t diag = {""};
  require(dns_name_from_text("o", &origin) == 0, "origin");
  int err = zone_read_text("o", &origin, "/nonexistent/z", (const char *)data, size, &contents, &diag);
  require((err == 0) == (contents != NULL), "a zone or an error");
  require((err == 0) == (diag.text[0] == '\0'), "a message or none");
  if (contents != NULL) {
    require(zone_new("o", &origin, "/nonexistent/z", &zone) == 0, "memory");
    zone_swap(zone, contents);
    static const char *const names[] = {"o", "a.o", "x.y.a.o", "*.o", "ns.o"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
      ask(zone, names[i]);
    zone_free(zone);
  } else {
    require(strstr(diag.text, "/nonexistent/") != NULL, "the message names the file");
  }
  return 0;
}
