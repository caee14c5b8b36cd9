/* SPDX-License-Identifier: Apache-2.0 */
/* A message from the network through the whole answer path, as a client with all zones, with one, and
 * without a view. What comes out must itself be a well-formed answer of bounded size, and refusals must
 * not depend on the name. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "resolver/answer/answer.h"
#include "resolver/limits.h"
#include "resolver/zone/zone_text.h"

static const char zone_text[] =
    "$TTL 60\n"
    "@ SOA ns admin 7 3600 600 604800 30\n@ NS ns\n@ MX 10 mail\nns A 192.0.2.1\n"
    "a A 192.0.2.3\na A 192.0.2.4\na TXT hello\nc CNAME a\nl CNAME m\nm CNAME l\n"
    "o CNAME a.u.\nx.y.z A 192.0.2.5\n*.w A 192.0.2.6\n*.v CNAME a\n"
    "d NS ns.d\nd NS ns\nns.d A 192.0.2.7\nn DNAME t\np.t A 192.0.2.10\ne DNAME u.\n";
static const char other_text[] =
    "$TTL 60\n@ SOA ns admin 8 3600 600 604800 30\n@ NS ns\nns A 192.0.2.30\na A 192.0.2.31\nb CNAME c.o.\n"
    "m MX 0 a\nm MX 1 b\ns SRV 0 0 1 a\nh HTTPS 0 i\ni HTTPS 1 . alpn=h2\ni AAAA 2001:db8::1\n"
    "t TXT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";

static const char over_text[] = "$TTL 60\n@ SOA ns admin 9 3600 600 604800 30\n@ NS ns\nns A 192.0.2.50\n"
                                "a A 192.0.2.51\nz CNAME s\n*.x A 192.0.2.52\ny.q A 192.0.2.53\ng DNAME h\n";

static view_t *all, *one, *overlaid;

static void require(int condition, const char *what)
{
  if (condition)
    return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

static zone_t *load(const char *name, const char *text)
{
  zone_t *zone;
  diag_t diag = {""};
  dns_name_t origin;
  require(dns_name_from_text(name, &origin) == 0, "origin");
  require(zone_load_text(name, &origin, "fuzz", text, strlen(text), &zone, &diag) == 0, diag.text);
  return zone;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  (void)argc;
  (void)argv;
  zone_t *zones[] = {load("o", zone_text), load("u", other_text), load("u", over_text)};
  require(zone_set_base(zones[2], zones[1]) == 0 && view_new("overlaid", zones + 2, 1, &overlaid) == 0,
          "overlay");
  require(view_new("all", zones, 2, &all) == 0 && view_new("one", zones + 1, 1, &one) == 0, "views");
  return 0;
}

static void check(const uint8_t *data, size_t size, const uint8_t *out, size_t len, const answer_note_t *note)
{
  dns_wire_t w = dns_wire_of(out, len);
  dns_header_t h;
  dns_name_t name;
  uint16_t type;
  uint16_t klass;
  require(dns_wire_header(&w, &h) == 0, "header");
  require((h.flags & DNS_FLAG_QR) && h.id == (data[0] << 8 | data[1]), "answers what was asked");
  require(size >= DNS_HEADER_LEN && !(data[2] & 0x80), "no answer to an answer");
  require(h.qdcount <= 1, "one question");
  if (h.qdcount == 1)
    require(dns_wire_question(&w, &name, &type, &klass) == 0, "question");
  size_t count = (size_t)h.ancount + h.nscount + h.arcount;
  for (size_t i = 0; i < count; i++) {
    dns_rr_t rr;
    require(dns_wire_rr(&w, &rr) == 0, "record");
  }
  require(dns_wire_left(&w) == 0, "nothing behind the records");
  if (note->rcode == DNS_RCODE_REFUSED)
    require(h.ancount == 0 && h.nscount == 0 && h.arcount <= 1, "a refusal says nothing");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const view_t *views[] = {all, one, overlaid, NULL};
  uint8_t brief[UDP_REPLY_MAX];
  answer_note_t brief_note;
  size_t brief_len = answer_short(data, size, brief, &brief_note);
  require(brief_len <= size + 28, "a short answer is not much more than the question");
  if (brief_len > 0)
    check(data, size, brief, brief_len, &brief_note);
  for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
    for (int tcp = 0; tcp < 2; tcp++) {
      size_t cap = tcp ? MESSAGE_MAX : UDP_REPLY_MAX;
      uint8_t *out = malloc(cap);
      answer_note_t note;
      require(out != NULL, "memory");
      size_t len = answer(views[v], tcp ? ANSWER_TCP : ANSWER_UDP, data, size, out, cap, &note);
      require(len <= cap, "size");
      if (len > 0)
        check(data, size, out, len, &note);
      free(out);
    }
  }
  return 0;
}
