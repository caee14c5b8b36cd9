/* SPDX-License-Identifier: Apache-2.0 */
/* Questions whose answers come from elsewhere, and later: io/later.h, with udp.h and tcp.h on real sockets
 * and a source that answers when the test says so. */
#include "harness.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ip.h"
#include "common/dns/dns_wire.h"
#include "resolver/io/later.h"
#include "resolver/io/tcp.h"
#include "resolver/io/udp.h"
#include "resolver/io/worker.h"
#include "resolver/limits.h"

/* The clock that waits are judged by, as far ahead as a test says. */
static uint64_t ahead_ms;
uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void)
{
  return __real_clock_mono_ms() + ahead_ms;
}

enum { ASKED_MAX = 64, PLACES = 4, ID = 0xbeef, ROUNDS = 200 };

/* ---- a source that answers when it is told to ---- */

typedef struct asked {
  uint64_t ticket;
  char name[DNS_NAME_TEXT_MAX];
  char view[16];
  bool forgotten;
} asked_t;

typedef struct source {
  asked_t asked[ASKED_MAX];
  size_t count;
  unsigned looked; /* times that has() was called */
  bool refuses, knows_nothing;
} source_t;

static bool source_has(void *ctx, const view_t *view, const query_t *q)
{
  source_t *s = ctx;
  (void)view;
  (void)q;
  s->looked++;
  return !s->knows_nothing;
}

static int source_ask(void *ctx, uint64_t ticket, const view_t *view, const query_t *q)
{
  source_t *s = ctx;
  if (s->refuses)
    return SMPL_ELIMIT;
  assert_true(s->count < ASKED_MAX);
  asked_t *a = &s->asked[s->count++];
  *a = (asked_t){.ticket = ticket};
  dns_name_to_text(&q->name, a->name);
  snprintf(a->view, sizeof a->view, "%s", view_name(view));
  return SMPL_OK;
}

static void source_forget(void *ctx, uint64_t ticket)
{
  source_t *s = ctx;
  for (size_t i = 0; i < s->count; i++)
    if (s->asked[i].ticket == ticket)
      s->asked[i].forgotten = true;
}

/* 192.0.2.77, as an rrset that a cache would keep. */
static void fill_address(void *ctx, const query_t *q, reply_t *r)
{
  static const struct {
    zone_rrset_t head;
    uint8_t wire[16];
  } set = {{DNS_TYPE_A, 1, 16, 0}, {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77}};
  (void)ctx;
  (void)q;
  assert_true(reply_put(r, REPLY_ANSWER, &set.head, DNS_HEADER_LEN, 0));
}

/* ---- the rig: a server's sockets on all addresses, and what a worker has ---- */

typedef struct rig {
  source_t source;
  elsewhere_t elsewhere;
  snapshot_t *snapshot;
  responder_t *responder;
  later_t *later;
  udp_batch_t *batch;
  tcp_t *tcp;
  int epoll_fd, udp_fd, listen_fd;
  endpoint_t udp_at, tcp_at;
} rig_t;

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

/* zones: what view `in` has. */
static snapshot_t *load(const char *zones)
{
  char text[1000];
  snapshot_t *s;
  diag_t diag = {""};
  snprintf(text, sizeof text,
           "listeners:\n  - {address: 127.41.9.1, port: 5300, views: [in, out]}\n"
           "views:\n  - {name: in, clients: [127.41.0.0/16], zones: [%s]}\n"
           "  - {name: out, public: true, clients: [127.42.0.0/16], zones: [org]}\n"
           "zones:\n  - {name: org, file: test_later.zone}\n  - {name: far, file: test_later.zone}\n",
           zones);
  write_file("test_later.yaml", text);
  write_file("test_later.zone", "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\nx A 10.0.0.2\n");
  if (snapshot_load("test_later.yaml", 1, &s, &diag))
    fail_msg("%s", diag.text);
  unlink("test_later.yaml");
  unlink("test_later.zone");
  return s;
}

/* As worker_swap does. */
static void reload(rig_t *r, const char *zones)
{
  snapshot_t *fresh = load(zones);
  snapshot_follow(fresh, r->snapshot);
  snapshot_free(r->snapshot);
  r->snapshot = fresh;
}

static int listening(int type, endpoint_t *at)
{
  struct sockaddr_storage sa;
  int one = 1;
  int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
  assert_true(fd >= 0);
  assert_int_equal(endpoint_parse("0.0.0.0:0", at), 0);
  assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one), 0);
  socklen_t len = endpoint_to_sockaddr(at, &sa);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
  len = sizeof sa;
  assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
  assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, at), 0);
  endpoint_t asked;
  assert_int_equal(endpoint_parse("127.41.9.1:1", &asked), 0);
  at->ip = asked.ip;
  return fd;
}

static int rig_up(void **state)
{
  rig_t *r = calloc(1, sizeof *r);
  cookie_secret_t secret;
  assert_non_null(r);
  r->elsewhere = (elsewhere_t){
      .ctx = &r->source, .has = source_has, .ask = source_ask, .forget = source_forget, .fd = -1};
  r->snapshot = load("org");
  assert_int_equal(cookie_secret_make(&secret), 0);
  assert_int_equal(responder_new(0, &secret, &r->responder), 0);
  responder_elsewhere(r->responder, &r->elsewhere);
  assert_int_equal(later_new(r->responder, &r->elsewhere, PLACES, &r->later), 0);
  r->batch = udp_batch_new();
  assert_non_null(r->batch);
  udp_batch_later(r->batch, r->later);
  r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  r->tcp = tcp_new(r->epoll_fd, r->responder, 16, 1 << 20);
  assert_non_null(r->tcp);
  tcp_later(r->tcp, r->later);
  r->udp_fd = listening(SOCK_DGRAM, &r->udp_at);
  r->listen_fd = listening(SOCK_STREAM, &r->tcp_at);
  assert_int_equal(listen(r->listen_fd, 16), 0);
  *state = r;
  return 0;
}

static int rig_down(void **state)
{
  rig_t *r = *state;
  ahead_ms = 0;
  later_end(r->later, r->snapshot);
  assert_int_equal(later_count(r->later), 0);
  tcp_free(r->tcp);
  later_free(r->later);
  udp_batch_free(r->batch);
  responder_free(r->responder);
  snapshot_free(r->snapshot);
  close(r->udp_fd);
  close(r->listen_fd);
  close(r->epoll_fd);
  free(r);
  return 0;
}

/* ---- clients ---- */

/* Connected to the address asked: an answer from another one does not come through. */
static int client(const char *from, int type, const endpoint_t *to)
{
  struct sockaddr_storage sa;
  endpoint_t at;
  int fd = socket(AF_INET, type, 0);
  assert_true(fd >= 0);
  assert_int_equal(endpoint_parse(from, &at), 0);
  socklen_t len = endpoint_to_sockaddr(&at, &sa);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
  len = endpoint_to_sockaddr(to, &sa);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
  return fd;
}

static const uint8_t cookie[COOKIE_CLIENT_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};

/* With EDNS, DO and a cookie, if so asked. */
static size_t make_query(const char *name, uint16_t flags, bool edns, uint8_t *buf)
{
  ask_t ask = {.name = name, .type = DNS_TYPE_A, .flags = flags, .edns = edns, .size = 1400};
  size_t len = harness_query(&ask, buf);
  buf[0] = ID >> 8;
  buf[1] = ID & 0xff;
  if (!edns)
    return len;
  const uint8_t option[] = {0, 10, 0, COOKIE_CLIENT_LEN};
  buf[len - 4] = 0x80; /* DO */
  buf[len - 1] = sizeof option + sizeof cookie;
  memcpy(buf + len, option, sizeof option);
  memcpy(buf + len + sizeof option, cookie, sizeof cookie);
  return len + sizeof option + sizeof cookie;
}

static void serve_udp(rig_t *r)
{
  for (unsigned i = 0; i < ROUNDS && udp_serve(r->batch, r->udp_fd, r->snapshot, r->responder, 0) == 0; i++)
    usleep(1000);
}

static int ask_udp(rig_t *r, const char *from, const char *name, uint16_t flags)
{
  uint8_t msg[512];
  int fd = client(from, SOCK_DGRAM, &r->udp_at);
  size_t len = make_query(name, flags, true, msg);
  assert_int_equal(send(fd, msg, len, 0), (ssize_t)len);
  serve_udp(r);
  return fd;
}

static void serve_tcp(rig_t *r)
{
  struct epoll_event ev[16];
  int n;
  while ((n = epoll_wait(r->epoll_fd, ev, 16, 20)) > 0) {
    for (int i = 0; i < n; i++)
      tcp_event(r->tcp, ev[i].data.ptr, ev[i].events);
    while (tcp_serve(r->tcp, r->snapshot, 16) > 0)
      ;
  }
  tcp_sweep(r->tcp);
}

static int dial(rig_t *r, const char *from)
{
  int fd = client(from, SOCK_STREAM, &r->tcp_at);
  size_t before = tcp_count(r->tcp);
  for (unsigned i = 0; i < ROUNDS && tcp_count(r->tcp) == before; i++) {
    tcp_accept(r->tcp, r->listen_fd, 0);
    usleep(1000);
  }
  return fd;
}

static void ask_tcp(rig_t *r, int fd, const char *name)
{
  uint8_t msg[514];
  size_t len = make_query(name, DNS_FLAG_RD, true, msg + 2);
  msg[0] = 0;
  msg[1] = (uint8_t)len;
  assert_int_equal(send(fd, msg, len + 2, 0), (ssize_t)(len + 2));
  serve_tcp(r);
}

/* "NOERROR 192.0.2.77", "SERVFAIL 22", "nothing", "end": the rcode, and the address or the EDE; valid until
 * the next call. Looks at all that every answer must have. */
static const char *judge(const uint8_t *msg, size_t len, const char *name)
{
  static char text[64];
  uint8_t want[512];
  size_t question = make_query(name, 0, false, want);
  dns_wire_t w = dns_wire_of(msg, len);
  dns_header_t h;
  dns_rr_t rr;
  assert_int_equal(dns_wire_header(&w, &h), 0);
  assert_int_equal(h.id, ID);
  assert_int_equal(h.flags & (DNS_FLAG_QR | DNS_FLAG_AA | DNS_FLAG_TC), DNS_FLAG_QR);
  assert_int_equal(h.qdcount, 1);
  assert_memory_equal(msg + DNS_HEADER_LEN, want + DNS_HEADER_LEN,
                      question - DNS_HEADER_LEN); /* its case too */
  dns_name_t asked;
  uint16_t type, klass;
  assert_int_equal(dns_wire_question(&w, &asked, &type, &klass), 0);
  unsigned rcode = h.flags & 15;
  snprintf(text, sizeof text, "%s", stats_rcode_name(rcode));
  for (unsigned i = 0; i < h.ancount; i++) {
    assert_int_equal(dns_wire_rr(&w, &rr), 0);
    const uint8_t *a = msg + w.at - 4;
    snprintf(text, sizeof text, "%s %u.%u.%u.%u", stats_rcode_name(rcode), a[0], a[1], a[2], a[3]);
  }
  assert_int_equal(h.arcount, 1);
  assert_int_equal(dns_wire_rr(&w, &rr), 0);
  assert_int_equal(dns_wire_left(&w), 0);
  assert_int_equal(rr.type, DNS_TYPE_OPT);
  assert_true(rr.ttl & 0x8000); /* DO as it came */
  const uint8_t *option = msg + w.at - (4 + COOKIE_CLIENT_LEN + COOKIE_SERVER_LEN);
  static const uint8_t none[COOKIE_SERVER_LEN];
  assert_int_equal(option[1], 10);
  assert_memory_equal(option + 4, cookie, COOKIE_CLIENT_LEN);
  assert_memory_not_equal(option + 4 + COOKIE_CLIENT_LEN, none, COOKIE_SERVER_LEN);
  if (option[-5] == 15)
    snprintf(text, sizeof text, "%s %u", stats_rcode_name(rcode), option[-1]);
  return text;
}

static const char *hear_udp(int fd, const char *name)
{
  uint8_t msg[UDP_REPLY_MAX];
  ssize_t n = recv(fd, msg, sizeof msg, MSG_DONTWAIT);
  return n < 0 ? "nothing" : judge(msg, (size_t)n, name);
}

static const char *hear_tcp(int fd, const char *name)
{
  uint8_t msg[512];
  ssize_t n = recv(fd, msg, 2, MSG_DONTWAIT);
  if (n <= 0)
    return n < 0 ? "nothing" : "end";
  size_t len = (size_t)msg[0] << 8 | msg[1];
  assert_int_equal(recv(fd, msg, len, MSG_DONTWAIT), (ssize_t)len);
  return judge(msg, len, name);
}

static void answer_asked(rig_t *r, size_t i)
{
  later_answer(r->later, r->snapshot, r->source.asked[i].ticket, fill_address, NULL);
}

/* ---- tests ---- */

static void an_answer_over_udp_comes_later(void **state)
{
  rig_t *r = *state;
  int fd = ask_udp(r, "127.41.8.1:0", "WwW.eXample", DNS_FLAG_RD);
  assert_string_equal(hear_udp(fd, "WwW.eXample"), "nothing");
  assert_int_equal(later_count(r->later), 1);
  assert_int_equal(r->source.count, 1);
  assert_string_equal(r->source.asked[0].name, "www.example.");
  assert_string_equal(r->source.asked[0].view, "in");
  assert_int_equal(snapshot_stats_sum(r->snapshot, 0).n[STATS_UDP], 0);
  answer_asked(r, 0);
  assert_string_equal(hear_udp(fd, "WwW.eXample"), "NOERROR 192.0.2.77");
  assert_int_equal(later_count(r->later), 0);
  assert_int_equal(snapshot_stats_sum(r->snapshot, 0).n[STATS_UDP], 1);
  assert_int_equal(snapshot_stats_sum(r->snapshot, 0).n[STATS_RCODE0], 1);
  answer_asked(r, 0); /* once more: nobody waits */
  assert_string_equal(hear_udp(fd, "WwW.eXample"), "nothing");
  assert_false(r->source.asked[0].forgotten);
  close(fd);
}

static void an_answer_over_tcp_comes_later_and_holds_up_no_other(void **state)
{
  rig_t *r = *state;
  int fd = dial(r, "127.41.8.1:0");
  ask_tcp(r, fd, "a.example");
  ask_tcp(r, fd, "b.example");
  ask_tcp(r, fd, "x.corp");
  assert_string_equal(hear_tcp(fd, "a.example"), "nothing");
  answer_asked(r, 1);
  assert_string_equal(hear_tcp(fd, "b.example"), "NOERROR 192.0.2.77");
  answer_asked(r, 2);
  answer_asked(r, 0);
  assert_string_equal(hear_tcp(fd, "x.corp"), "NOERROR 192.0.2.77");
  assert_string_equal(hear_tcp(fd, "a.example"), "NOERROR 192.0.2.77");
  assert_int_equal(snapshot_stats_sum(r->snapshot, 0).n[STATS_TCP], 3);
  close(fd);
}

/* A zone's answer does not wait for what was asked before it on the same connection. */
static void an_answer_of_a_zone_passes_one_that_waits(void **state)
{
  rig_t *r = *state;
  uint8_t msg[512];
  int fd = dial(r, "127.41.8.1:0");
  ask_tcp(r, fd, "a.example");
  ask_tcp(r, fd, "x.org");
  assert_true(recv(fd, msg, sizeof msg, MSG_DONTWAIT) > 40);
  answer_asked(r, 0);
  assert_string_equal(hear_tcp(fd, "a.example"), "NOERROR 192.0.2.77");
  close(fd);
}

static void whoever_sends_no_more_still_gets_the_answer(void **state)
{
  rig_t *r = *state;
  int fd = dial(r, "127.41.8.1:0");
  ask_tcp(r, fd, "a.example");
  shutdown(fd, SHUT_WR);
  serve_tcp(r);
  assert_int_equal(tcp_count(r->tcp), 1);
  answer_asked(r, 0);
  assert_string_equal(hear_tcp(fd, "a.example"), "NOERROR 192.0.2.77");
  assert_string_equal(hear_tcp(fd, "a.example"), "end");
  assert_int_equal(tcp_count(r->tcp), 0);
  close(fd);
}

static void a_client_that_has_gone_is_forgotten(void **state)
{
  rig_t *r = *state;
  struct linger at_once = {1, 0};
  int fd = dial(r, "127.41.8.1:0");
  ask_tcp(r, fd, "a.example");
  ask_tcp(r, fd, "b.example");
  assert_int_equal(later_count(r->later), 2);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once); /* close resets the connection */
  close(fd);
  for (unsigned i = 0; i < ROUNDS && tcp_count(r->tcp) > 0; i++)
    serve_tcp(r);
  assert_int_equal(tcp_count(r->tcp), 0);
  assert_int_equal(later_count(r->later), 0);
  assert_true(r->source.asked[0].forgotten && r->source.asked[1].forgotten);
  answer_asked(r, 0);
  answer_asked(r, 1);
}

/* The source that has most gives way to another; it gets no more than its part, and nobody else notices. */
static void whoever_asks_most_gives_way_among_those_who_wait(void **state)
{
  rig_t *r = *state;
  int greedy[PLACES + 1];
  for (int i = 0; i < PLACES; i++)
    greedy[i] = ask_udp(r, "127.41.8.1:0", "greedy.example", DNS_FLAG_RD);
  assert_int_equal(later_count(r->later), PLACES);
  greedy[PLACES] = ask_udp(r, "127.41.8.1:0", "greedy.example", DNS_FLAG_RD);
  assert_string_equal(hear_udp(greedy[PLACES], "greedy.example"), "SERVFAIL 14");
  assert_int_equal(r->source.count, PLACES); /* it was asked nothing for that one */

  int quiet = ask_udp(r, "127.41.7.1:0", "quiet.example", DNS_FLAG_RD);
  assert_string_equal(hear_udp(quiet, "quiet.example"), "nothing");
  assert_int_equal(later_count(r->later), PLACES);
  assert_string_equal(hear_udp(greedy[PLACES - 1], "greedy.example"), "SERVFAIL 14"); /* its newest */
  assert_true(r->source.asked[PLACES - 1].forgotten);
  int more = ask_udp(r, "127.41.8.1:0", "greedy.example", DNS_FLAG_RD);
  assert_string_equal(hear_udp(more, "greedy.example"), "SERVFAIL 14");

  answer_asked(r, PLACES);
  assert_string_equal(hear_udp(quiet, "quiet.example"), "NOERROR 192.0.2.77");
  for (size_t i = 0; i < PLACES - 1; i++) {
    answer_asked(r, i);
    assert_string_equal(hear_udp(greedy[i], "greedy.example"), "NOERROR 192.0.2.77");
  }
  for (int i = 0; i <= PLACES; i++)
    close(greedy[i]);
  close(quiet);
  close(more);
}

/* One connection that asks much gives way, too, and stays open. */
static void a_connection_that_gives_way_stays_open(void **state)
{
  rig_t *r = *state;
  int fd = dial(r, "127.41.8.1:0");
  for (int i = 0; i < PLACES; i++)
    ask_tcp(r, fd, "greedy.example");
  int quiet = ask_udp(r, "127.41.7.1:0", "quiet.example", DNS_FLAG_RD);
  assert_string_equal(hear_tcp(fd, "greedy.example"), "SERVFAIL 14");
  ask_tcp(r, fd, "greedy.example");
  assert_string_equal(hear_tcp(fd, "greedy.example"), "SERVFAIL 14");
  answer_asked(r, 0);
  assert_string_equal(hear_tcp(fd, "greedy.example"), "NOERROR 192.0.2.77");
  assert_int_equal(tcp_count(r->tcp), 1);
  close(fd);
  close(quiet);
}

static void whoever_waited_too_long_gets_servfail(void **state)
{
  rig_t *r = *state;
  int fd = ask_udp(r, "127.41.8.1:0", "www.example", DNS_FLAG_RD);
  int conn = dial(r, "127.41.8.1:0");
  ask_tcp(r, conn, "b.example");
  int wait = later_sweep(r->later, r->snapshot);
  assert_in_range(wait, 1, LATER_WAIT_MS);
  assert_string_equal(hear_udp(fd, "www.example"), "nothing");
  ahead_ms += LATER_WAIT_MS + 1000;
  assert_int_equal(later_sweep(r->later, r->snapshot), -1);
  assert_string_equal(hear_udp(fd, "www.example"), "SERVFAIL 22");
  assert_string_equal(hear_tcp(conn, "b.example"), "SERVFAIL 22");
  assert_true(r->source.asked[0].forgotten && r->source.asked[1].forgotten);
  answer_asked(r, 0);
  assert_string_equal(hear_udp(fd, "www.example"), "nothing");
  close(fd);
  close(conn);
}

static void whoever_waits_at_an_end_gets_servfail(void **state)
{
  rig_t *r = *state;
  int fd = ask_udp(r, "127.41.8.1:0", "www.example", DNS_FLAG_RD);
  int conn = dial(r, "127.41.8.1:0");
  ask_tcp(r, conn, "b.example");
  tcp_drain(r->tcp);
  tcp_serve(r->tcp, r->snapshot, 16);
  tcp_sweep(r->tcp);
  assert_int_equal(tcp_count(r->tcp), 1); /* it is unfinished */
  later_end(r->later, r->snapshot);
  assert_string_equal(hear_udp(fd, "www.example"), "SERVFAIL 14");
  assert_string_equal(hear_tcp(conn, "b.example"), "SERVFAIL 14");
  assert_int_equal(later_count(r->later), 0);
  tcp_sweep(r->tcp);
  assert_int_equal(tcp_count(r->tcp), 0);
  close(fd);
  close(conn);
}

static void a_source_that_cannot_is_servfail_at_once(void **state)
{
  rig_t *r = *state;
  r->source.refuses = true;
  int fd = ask_udp(r, "127.41.8.1:0", "www.example", DNS_FLAG_RD);
  assert_string_equal(hear_udp(fd, "www.example"), "SERVFAIL 14");
  assert_int_equal(later_count(r->later), 0);
  int conn = dial(r, "127.41.8.1:0");
  ask_tcp(r, conn, "b.example");
  assert_string_equal(hear_tcp(conn, "b.example"), "SERVFAIL 14");
  close(fd);
  close(conn);
}

/* The view was replaced while the question waited: what the old one would have been told is told to nobody.
 */
static void a_question_of_a_view_that_was_replaced_is_judged_anew(void **state)
{
  rig_t *r = *state;
  int fd = ask_udp(r, "127.41.8.1:0", "www.example", DNS_FLAG_RD);
  reload(r, "org");
  r->source.knows_nothing = true; /* the view that is in force now has nothing elsewhere */
  answer_asked(r, 0);
  assert_string_equal(hear_udp(fd, "www.example"), "REFUSED 20");
  close(fd);

  r->source.knows_nothing = false;
  fd = ask_udp(r, "127.41.8.1:0", "x.far", DNS_FLAG_RD);
  reload(r, "org, far"); /* the view has the zone itself now */
  answer_asked(r, 1);
  uint8_t msg[512];
  ssize_t n = recv(fd, msg, sizeof msg, MSG_DONTWAIT);
  assert_true(n > 0 && (msg[2] & 4) != 0 && (msg[3] & 15) == 0); /* authoritative */
  close(fd);

  fd = ask_udp(r, "127.41.8.1:0", "www.example", DNS_FLAG_RD);
  reload(r, "org"); /* as before, but who knows by what rule: it is asked for again */
  answer_asked(r, 2);
  assert_string_equal(hear_udp(fd, "www.example"), "nothing");
  assert_int_equal(r->source.count, 4);
  answer_asked(r, 2);
  assert_string_equal(hear_udp(fd, "www.example"), "nothing");
  answer_asked(r, 3);
  assert_string_equal(hear_udp(fd, "www.example"), "NOERROR 192.0.2.77");
  close(fd);

  fd = ask_udp(r, "127.41.8.1:0", "www.example", DNS_FLAG_RD);
  reload(r, "org");
  r->source.knows_nothing = true;
  ahead_ms += LATER_WAIT_MS + 1000; /* and no answer came: not even how long it takes is told */
  later_sweep(r->later, r->snapshot);
  assert_string_equal(hear_udp(fd, "www.example"), "REFUSED 20");
  close(fd);
}

/* Invariant 3. */
static void nobody_outside_causes_a_question(void **state)
{
  rig_t *r = *state;
  int public_one = ask_udp(r, "127.42.8.1:0", "www.example", DNS_FLAG_RD);
  assert_string_equal(hear_udp(public_one, "www.example"), "REFUSED 20");
  int nobody = ask_udp(r, "127.43.8.1:0", "www.example", DNS_FLAG_RD);
  assert_string_equal(hear_udp(nobody, "www.example"), "REFUSED 20");
  int iterative = ask_udp(r, "127.41.8.1:0", "www.example", 0);
  assert_string_equal(hear_udp(iterative, "www.example"), "REFUSED 20");
  assert_int_equal(r->source.looked, 0);
  int conn = dial(r, "127.42.8.1:0");
  ask_tcp(r, conn, "www.example");
  assert_string_equal(hear_tcp(conn, "www.example"), "REFUSED 20");
  assert_int_equal(r->source.looked, 0);
  close(public_one);
  close(nobody);
  close(iterative);
  close(conn);
}

/* Only questions for records, one at a time: no ANY, no transfer, no update, no other class. */
static void only_questions_for_records_go_elsewhere(void **state)
{
  rig_t *r = *state;
  static const ask_t asks[] = {
      {.name = "www.example", .type = 255, .flags = DNS_FLAG_RD},
      {.name = "www.example", .type = DNS_TYPE_AXFR, .flags = DNS_FLAG_RD},
      {.name = "www.example", .type = DNS_TYPE_A, .flags = DNS_FLAG_RD, .klass = 3},
      {.name = "www.example", .type = 6, .flags = DNS_FLAG_RD | OPCODE_UPDATE << 11},
      {.name = "www.example", .type = 6, .flags = DNS_FLAG_RD | OPCODE_NOTIFY << 11},
  };
  int fd = client("127.41.8.1:0", SOCK_DGRAM, &r->udp_at);
  for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
    uint8_t msg[512];
    size_t len = harness_query(&asks[i], msg);
    assert_int_equal(send(fd, msg, len, 0), (ssize_t)len);
    serve_udp(r);
    assert_true(recv(fd, msg, sizeof msg, MSG_DONTWAIT) > 0);
    assert_int_equal(msg[3] & 15, DNS_RCODE_REFUSED);
  }
  assert_int_equal(r->source.looked, 0);
  assert_int_equal(later_count(r->later), 0);
  close(fd);
}

/* What waits is a question of one size, whatever the client sent with it. */
static void a_long_question_waits_as_well(void **state)
{
  rig_t *r = *state;
  enum { PADDING = 3000 };
  static uint8_t msg[4096];
  size_t len = make_query("www.example", DNS_FLAG_RD, true, msg);
  size_t rdlen = 4 + COOKIE_CLIENT_LEN + 4 + PADDING;
  size_t at = len - (4 + COOKIE_CLIENT_LEN) - 2;
  msg[at] = (uint8_t)(rdlen >> 8);
  msg[at + 1] = (uint8_t)rdlen;
  const uint8_t option[] = {0, 12, PADDING >> 8, PADDING & 0xff}; /* RFC 7830 */
  memcpy(msg + len, option, sizeof option);
  len += sizeof option + PADDING;
  int fd = client("127.41.8.1:0", SOCK_DGRAM, &r->udp_at);
  assert_int_equal(send(fd, msg, len, 0), (ssize_t)len);
  serve_udp(r);
  answer_asked(r, 0);
  assert_string_equal(hear_udp(fd, "www.example"), "NOERROR 192.0.2.77");
  close(fd);
}

/* ---- a worker and its thread ---- */

typedef struct slow {
  source_t source;
  int fd;
} slow_t;

static int slow_ask(void *ctx, uint64_t ticket, const view_t *view, const query_t *q)
{
  slow_t *s = ctx;
  uint64_t one = 1;
  int err = source_ask(&s->source, ticket, view, q);
  if (q->name.wire[0] == 3) /* "now": its answer is ready in the next round; others wait for ever */
    assert_int_equal(write(s->fd, &one, sizeof one), (ssize_t)sizeof one);
  return err;
}

static void slow_ready(void *ctx, later_t *later, const snapshot_t *s)
{
  slow_t *slow = ctx;
  uint64_t n;
  assert_int_equal(read(slow->fd, &n, sizeof n), (ssize_t)sizeof n);
  later_answer(later, s, slow->source.asked[slow->source.count - 1].ticket, fill_address, NULL);
}

static void a_worker_answers_later_and_tells_everybody_at_its_end(void **state)
{
  (void)state;
  slow_t slow = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  elsewhere_t elsewhere = {&slow, source_has, slow_ask, source_forget, slow.fd, slow_ready};
  worker_shared_t shared = {.snapshot = load("org")};
  worker_limits_t limits = {16, 1 << 20, 8};
  dns_worker_t *w;
  diag_t diag = {""};
  uint8_t msg[512];
  struct timeval patience = {120, 0};
  assert_int_equal(cookie_secret_make(&shared.secret), 0);
  if (worker_new(0, &shared, &limits, &w, &diag) || worker_elsewhere(w, &elsewhere, &diag) ||
      worker_start(w, false, &diag))
    fail_msg("%s", diag.text);
  endpoint_t at = snapshot_listener(shared.snapshot, 0);
  int fd = client("127.41.8.1:0", SOCK_DGRAM, &at);
  int waits = client("127.41.8.1:0", SOCK_DGRAM, &at);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  size_t len = make_query("waits.example", DNS_FLAG_RD, true, msg);
  assert_int_equal(send(waits, msg, len, 0), (ssize_t)len);
  for (unsigned i = 0; i < 120000 && worker_waiting(w) == 0; i++)
    usleep(1000);
  len = make_query("now.example", DNS_FLAG_RD, true, msg);
  assert_int_equal(send(fd, msg, len, 0), (ssize_t)len);
  ssize_t n = recv(fd, msg, sizeof msg, 0);
  assert_true(n > 0);
  assert_string_equal(judge(msg, (size_t)n, "now.example"), "NOERROR 192.0.2.77");
  assert_int_equal(worker_waiting(w), 1);
  worker_stop(w);
  assert_string_equal(hear_udp(waits, "waits.example"), "SERVFAIL 14");
  close(fd);
  close(waits);
  close(slow.fd);
  snapshot_free(shared.snapshot);
}

#define LATER_TEST(f) cmocka_unit_test_setup_teardown(f, rig_up, rig_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      LATER_TEST(an_answer_over_udp_comes_later),
      LATER_TEST(an_answer_over_tcp_comes_later_and_holds_up_no_other),
      LATER_TEST(an_answer_of_a_zone_passes_one_that_waits),
      LATER_TEST(whoever_sends_no_more_still_gets_the_answer),
      LATER_TEST(a_client_that_has_gone_is_forgotten),
      LATER_TEST(whoever_asks_most_gives_way_among_those_who_wait),
      LATER_TEST(a_connection_that_gives_way_stays_open),
      LATER_TEST(whoever_waited_too_long_gets_servfail),
      LATER_TEST(whoever_waits_at_an_end_gets_servfail),
      LATER_TEST(a_source_that_cannot_is_servfail_at_once),
      LATER_TEST(a_question_of_a_view_that_was_replaced_is_judged_anew),
      LATER_TEST(nobody_outside_causes_a_question),
      LATER_TEST(only_questions_for_records_go_elsewhere),
      LATER_TEST(a_long_question_waits_as_well),
      cmocka_unit_test(a_worker_answers_later_and_tells_everybody_at_its_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
