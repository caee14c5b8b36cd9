/* SPDX-License-Identifier: Apache-2.0 */
/* resolver/io/udp.h: from datagrams to answers nothing is allocated: the linker hands the allocations of our
 * code to the counters here. What OpenSSL allocates for cookies is looked at in test_cookies.c, system calls
 * in the end-to-end tests. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/dns/dns_wire.h"
#include "resolver/limits.h"
#include "resolver/io/udp.h"

static unsigned allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n)
{
  allocations++;
  return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
  allocations++;
  return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
  allocations++;
  return __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
  allocations++;
  return __real_reallocarray(p, n, size);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
  allocations++;
  return __real_aligned_alloc(align, n);
}

char *__wrap_strdup(const char *s)
{
  allocations++;
  return __real_strdup(s);
}

void __wrap_free(void *p)
{
  allocations++;
  __real_free(p);
}

typedef struct rig {
  snapshot_t *snapshot;
  responder_t *responder;
  udp_batch_t *batch;
  int server, client;
} rig_t;

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static int bound(endpoint_t *at)
{
  struct sockaddr_storage sa;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  assert_int_equal(endpoint_parse("127.0.0.1:0", at), 0);
  socklen_t len = endpoint_to_sockaddr(at, &sa);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
  len = sizeof sa;
  assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
  assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, at), 0);
  int size = UDP_RCVBUF;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return fd;
}

static int rig_up(void **state)
{
  rig_t *r = calloc(1, sizeof *r);
  diag_t diag = {""};
  cookie_secret_t secret;
  endpoint_t at;
  struct sockaddr_storage sa;
  assert_non_null(r);
  write_file("test_hot_path.yaml",
             "listeners:\n  - {address: 127.41.9.1, port: 5300, views: [v]}\n"
             "views:\n  - {name: v, public: true, rate_limit: 20, clients: [127.0.0.0/8], "
             "zones: [org, com@over]}\n"
             "zones:\n  - {name: org, file: test_hot_path.zone}\n"
             "  - {name: com@base, file: test_hot_path.zone}\n"
             "  - {name: com@over, file: test_hot_path.over.zone, on_missing: base, base: com@base}\n");
  write_file(
      "test_hot_path.zone",
      "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\n@ MX 1 ns\nns A 10.0.0.1\nc CNAME d\nd CNAME ns\n*.w A "
      "10.0.0.2\n"
      "s SRV 0 0 1 ns\nsub NS ns.sub\nns.sub A 10.0.0.3\nn DNAME w\n$GENERATE 0-199 big A 127.11.0.$\n");
  write_file("test_hot_path.over.zone", "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 10.0.0.4\n");
  if (snapshot_load("test_hot_path.yaml", 1, &r->snapshot, &diag))
    fail_msg("%s", diag.text);
  assert_int_equal(cookie_secret_make(&secret), 0);
  assert_int_equal(responder_new(0, &secret, &r->responder), 0);
  r->batch = udp_batch_new();
  assert_non_null(r->batch);
  r->client = bound(&at);
  r->server = bound(&at);
  socklen_t len = endpoint_to_sockaddr(&at, &sa);
  assert_int_equal(connect(r->client, (struct sockaddr *)&sa, len), 0);
  *state = r;
  return 0;
}

static int rig_down(void **state)
{
  rig_t *r = *state;
  udp_batch_free(r->batch);
  responder_free(r->responder);
  snapshot_free(r->snapshot);
  close(r->server);
  close(r->client);
  free(r);
  unlink("test_hot_path.yaml");
  unlink("test_hot_path.zone");
  unlink("test_hot_path.over.zone");
  return 0;
}

static size_t drain(int fd, uint8_t *last, size_t cap, size_t *len)
{
  size_t count = 0;
  ssize_t n;
  while ((n = recv(fd, last, cap, MSG_DONTWAIT)) >= 0) {
    count++;
    *len = (size_t)n;
  }
  return count;
}

static void answering_allocates_nothing(void **state)
{
  rig_t *r = *state;
  static const char *const names[] = {"ns.org",    "c.org",           "nope.org", "x.w.org", "s.org",
                                      "x.sub.org", "x.n.org",         "big.org",  "ns.com",  "d.com",
                                      "x.com",     "private.example", "."};
  static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_SRV, DNS_TYPE_ANY, DNS_TYPE_AXFR};
  uint8_t reply[UDP_REPLY_MAX];
  uint8_t stream[MESSAGE_MAX];
  size_t answers = 0;
  size_t len = 0;
  endpoint_t peer;
  assert_int_equal(endpoint_parse("127.0.0.1:53", &peer), 0);
  allocations = 0;
  for (unsigned round = 0; round < 20; round++) { /* the first within the rate, the rest above it */
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
      for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        uint8_t msg[512];
        ask_t ask = {.name = names[n], .type = types[t], .edns = n % 2 == 0};
        size_t size = harness_query(&ask, msg);
        assert_true(send(r->client, msg, size, 0) > 0);
        assert_true(send(r->client, msg, size / 2, 0) > 0); /* malformed */
        exchange_t x = {.transport = EXCHANGE_TCP,
                        .peer = &peer.ip,
                        .msg = msg,
                        .len = size,
                        .out = stream,
                        .cap = sizeof stream};
        snapshot_choose(r->snapshot, 0, &peer.ip, 1, &x.chosen);
        assert_int_equal(respond(r->responder, r->snapshot, &x), EXCHANGE_SEND);
      }
    }
    size_t before = allocations;
    while (udp_serve(r->batch, r->server, r->snapshot, r->responder, 0) > 0)
      ;
    assert_int_equal(allocations, before);
    answers += drain(r->client, reply, sizeof reply, &len);
  }
  assert_true(answers > 500);
  /* harness_query makes no allocation either, so all of it is counted */
  assert_int_equal(allocations, 0);
  assert_true(snapshot_zone_queries(r->snapshot, 0) > 0);
}

static void a_batch_has_so_many_datagrams_and_the_next_goes_on(void **state)
{
  rig_t *r = *state;
  uint8_t msg[512];
  uint8_t reply[UDP_REPLY_MAX];
  size_t len = 0;
  ask_t ask = {.name = "ns.org", .type = DNS_TYPE_A};
  size_t size = harness_query(&ask, msg);
  for (unsigned i = 0; i < UDP_BATCH + 1; i++)
    assert_int_equal(send(r->client, msg, size, 0), (ssize_t)size);
  assert_int_equal(udp_serve(r->batch, r->server, r->snapshot, r->responder, 0), UDP_BATCH);
  assert_int_equal(udp_serve(r->batch, r->server, r->snapshot, r->responder, 0), 1);
  assert_int_equal(udp_serve(r->batch, r->server, r->snapshot, r->responder, 0), 0);
  drain(r->client, reply, sizeof reply, &len);
}

/* A query with an EDNS option that fills it up to total bytes. */
static size_t padded(uint8_t *msg, size_t total)
{
  ask_t ask = {.name = "ns.org", .type = DNS_TYPE_A, .edns = true};
  size_t len = harness_query(&ask, msg);
  size_t rest = total - len; /* RFC 7830 */
  msg[len - 2] = (uint8_t)(rest >> 8);
  msg[len - 1] = (uint8_t)rest;
  memset(msg + len, 0, rest);
  msg[len + 1] = 12;
  msg[len + 2] = (uint8_t)((rest - 4) >> 8);
  msg[len + 3] = (uint8_t)(rest - 4);
  return total;
}

static void datagrams_are_read_up_to_the_limit(void **state)
{
  rig_t *r = *state;
  static uint8_t msg[UDP_QUERY_MAX + 1];
  uint8_t reply[UDP_REPLY_MAX];
  for (size_t extra = 0; extra < 2; extra++) {
    size_t len = 0;
    size_t size = padded(msg, UDP_QUERY_MAX + extra);
    usleep(200000); /* the rate */
    assert_int_equal(send(r->client, msg, size, 0), (ssize_t)size);
    assert_int_equal(udp_serve(r->batch, r->server, r->snapshot, r->responder, 0), 1);
    assert_int_equal(drain(r->client, reply, sizeof reply, &len), 1);
    assert_int_equal(reply[3] & 15, extra == 0 ? DNS_RCODE_NOERROR : DNS_RCODE_FORMERR);
    assert_true(extra == 0 ? len > DNS_HEADER_LEN : len == DNS_HEADER_LEN);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(datagrams_are_read_up_to_the_limit),
      cmocka_unit_test(answering_allocates_nothing),
      cmocka_unit_test(a_batch_has_so_many_datagrams_and_the_next_goes_on),
  };
  return cmocka_run_group_tests(tests, rig_up, rig_down);
}
