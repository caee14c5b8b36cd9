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
  zone_contents_t *contents;
  require(zone_read_text(name, &origin, "fuzz", text, strlen(text), &contents, &diag) == 0, diag.text);
  require(zone_new(name, &origin, "fuzz", &zone) == 0, "memory");
  zone_swap(zone, contents);
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

static void check(const uint8_t *data, size_t size, const uint8_t *out, size_t len,
                  const exchange_note_t *note)
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

/* The answer that somebody else writes: a failure is enough. */
static void fill(void *ctx, const query_t *q, reply_t *r)
{
  (void)ctx;
  (void)q;
  r->rcode = DNS_RCODE_SERVFAIL;
  r->ede = EDE_NO_REACHABLE_AUTHORITY;
}

/* A query that waits is kept in a bounded form: it must read as the one that came. */
static void check_packed(const uint8_t *data, size_t size)
{
  query_t q, again;
  uint8_t packed[QUERY_PACKED_MAX];
  if (query_read(data, size, &q) != QUERY_READ || dns_opcode(q.flags) != OPCODE_QUERY)
    return;
  size_t len = query_pack(&q, packed);
  require(len <= sizeof packed && query_read(packed, len, &again) == QUERY_READ, "packed");
  require(again.flags == q.flags && again.type == q.type && again.klass == q.klass &&
              again.udp_size == q.udp_size && again.has_edns == q.has_edns &&
              again.dnssec_ok == q.dnssec_ok && again.cookie_len == q.cookie_len &&
              again.question_end == q.question_end && dns_name_equal(&again.name, &q.name),
          "the same query");
  require(memcmp(packed + DNS_HEADER_LEN, data + DNS_HEADER_LEN, q.question_end - DNS_HEADER_LEN) == 0,
          "question");
  require(q.cookie_len == 0 || memcmp(again.cookie, q.cookie, q.cookie_len) == 0, "cookie");
  uint8_t out[UDP_REPLY_MAX];
  exchange_t x = {.transport = EXCHANGE_UDP, .msg = packed, .len = len, .out = out, .cap = sizeof out};
  answer_filled(&x, fill, NULL);
  check(packed, len, out, x.out_len, &x.note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const view_t *views[] = {all, one, overlaid, NULL};
  uint8_t brief[UDP_REPLY_MAX];
  exchange_t shorter = {
      .transport = EXCHANGE_UDP, .msg = data, .len = size, .out = brief, .cap = sizeof brief};
  answer_short(&shorter);
  require(shorter.out_len <= size + 28, "a short answer is not much more than the question");
  if (shorter.out_len > 0)
    check(data, size, brief, shorter.out_len, &shorter.note);
  check_packed(data, size);
  for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
    for (int tcp = 0; tcp < 2; tcp++) {
      size_t cap = tcp ? MESSAGE_MAX : UDP_REPLY_MAX;
      uint8_t *out = malloc(cap);
      require(out != NULL, "memory");
      exchange_t x = {.transport = tcp ? EXCHANGE_TCP : EXCHANGE_UDP,
                      .chosen = {.view = views[v]},
                      .msg = data,
                      .len = size,
                      .out = out,
                      .cap = cap};
      answer(&x);
      require(x.out_len <= cap, "size");
      if (x.out_len > 0)
        check(data, size, out, x.out_len, &x.note);
      free(out);
    }
  }
  return 0;
}
