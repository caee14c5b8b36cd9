/* SPDX-License-Identifier: Apache-2.0 */
/* common/dns/lookup.h against servers of our own on loopback that answer right, wrong, late or not at all. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/dns/dns_channel.h"
#include "common/base/error.h"
#include "common/dns/lookup.h"

typedef enum behaviour {
  ANSWER,
  SILENT,
  REFUSE,
  WRONG_CASE,  /* answers with a letter of the question in the other case: not the one that was asked */
  TRUNCATE,    /* over UDP; over TCP it answers */
  LONG_CHAIN,  /* one alias more than the limit */
  TWO_CHAINS,  /* both families at the limit, over different names */
  BROKEN,      /* the answer section ends early */
  BAD_SERVICE, /* a good SRV record, then one whose data is too short */
  COOKIES,     /* a cookie of its own (RFC 7873) to who brings one */
} behaviour_t;

typedef struct fake {
  int udp, tcp;
  endpoint_t at;
  _Atomic int behaviour;
  _Atomic unsigned udp_asked, tcp_asked;
  _Atomic bool moved;      /* moved.test has its second address */
  _Atomic uint32_t source; /* of the last question, host order */
  pthread_t threads[2];
} fake_t;

typedef struct out {
  uint8_t b[16384];
  size_t len;
} out_t;

static void put(out_t *o, const void *data, size_t len)
{
  assert_true(o->len + len <= sizeof o->b);
  memcpy(o->b + o->len, data, len);
  o->len += len;
}

static void put16(out_t *o, unsigned v)
{
  uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};
  put(o, b, 2);
}

static void put_name(out_t *o, const char *text)
{
  dns_name_t n;
  if (dns_name_from_text(text, &n) == 0)
    put(o, n.wire, n.len);
}

static void put_rr(out_t *o, const char *owner, unsigned type, unsigned ttl, const void *rdata, size_t len)
{
  put_name(o, owner);
  put16(o, type);
  put16(o, 1);
  put16(o, 0);
  put16(o, ttl);
  put16(o, (unsigned)len);
  put(o, rdata, len);
  if (++o->b[7] == 0) /* ANCOUNT */
    o->b[6]++;        /* ANCOUNT */
}

static void put_alias(out_t *o, const char *owner, const char *target)
{
  dns_name_t n;
  if (dns_name_from_text(target, &n) == 0)
    put_rr(o, owner, DNS_TYPE_CNAME, 300, n.wire, n.len);
}

static void put_srv(out_t *o, const char *owner, uint8_t priority, uint8_t port, const char *target)
{
  out_t data = {.len = 0};
  uint8_t head[6] = {0, priority, 0, 1, 0, port};
  put(&data, head, 6);
  put_name(&data, target);
  put_rr(o, owner, DNS_TYPE_SRV, 60, data.b, data.len);
}

static bool is(const dns_name_t *asked, const char *text)
{
  dns_name_t n, lower = *asked;
  dns_name_lower(&lower);
  return dns_name_from_text(text, &n) == 0 && dns_name_equal(&lower, &n);
}

static void put_chain(out_t *o, unsigned links, unsigned type)
{
  char from[8] = "a0.test", to[8] = "a0.test";
  to[0] = type == DNS_TYPE_AAAA ? 'b' : 'a';
  for (unsigned i = 0; i < links; i++) {
    to[1] = (char)('1' + i);
    put_alias(o, from, to);
    memcpy(from, to, sizeof from);
  }
  put_rr(o, from, type, 30, "\x0a\x00\x00\x63\0\0\0\0\0\0\0\0\0\0\0\0", type == DNS_TYPE_A ? 4 : 16);
}

static void put_records(out_t *o, const dns_name_t *name, unsigned type, bool moved)
{
  if (is(name, "moved.test")) {
    if (type == DNS_TYPE_A)
      put_rr(o, "moved.test", type, 300, moved ? "\x0a\x00\x00\x02" : "\x0a\x00\x00\x01", 4);
  } else if (is(name, "two.test") && type == DNS_TYPE_A) {
    put_rr(o, "two.test", type, 300, "\x0a\x00\x00\x01", 4);
    put_rr(o, "two.test", type, 200, "\x0a\x00\x00\x02", 4);
  } else if (is(name, "two.test") && type == DNS_TYPE_AAAA) {
    put_rr(o, "two.test", type, 100, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
  } else if (is(name, "alias.test") && type == DNS_TYPE_A) {
    put_rr(o, "two.test", type, 50, "\x0a\x00\x00\x01", 4); /* before the alias that leads to it */
    put_alias(o, "ALIAS.test", "two.test");
    put_rr(o, "stranger.test", type, 5, "\x0a\x00\x00\x99", 4); /* nobody asked */
  } else if (is(name, "a0.test") && type == DNS_TYPE_A) {
    put_chain(o, LOOKUP_CHAIN_MAX, DNS_TYPE_A);
  } else if (is(name, "split.test")) { /* the families go different ways, and share one name of them */
    put_alias(o, "split.test", "shared.test");
    put_alias(o, "shared.test", type == DNS_TYPE_A ? "four.test" : "six.test");
    if (type == DNS_TYPE_A)
      put_rr(o, "four.test", type, 300, "\x0a\x00\x00\x01", 4);
    else
      put_rr(o, "six.test", type, 300, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
  } else if (is(name, "half.test")) { /* only one family is an alias */
    if (type == DNS_TYPE_A)
      put_rr(o, "half.test", type, 300, "\x0a\x00\x00\x01", 4);
    else
      put_alias(o, "half.test", "six.test");
    if (type == DNS_TYPE_AAAA)
      put_rr(o, "six.test", type, 300, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
  } else if (is(name, "_http._tcp.two.test") && type == DNS_TYPE_SRV) {
    put_srv(o, "_http._tcp.two.test", 20, 81, "other.test");
    put_srv(o, "_http._tcp.two.test", 10, 80, "TWO.test");
  } else if (is(name, "_http._tcp.test") && type == DNS_TYPE_PTR) { /* more than are kept: by TCP, then cut */
    for (unsigned i = 0; i < LOOKUP_PTRS_MAX + 4; i++) {
      out_t data = {.len = 0};
      char text[32];
      snprintf(text, sizeof text, "_HTTP._tcp.s%u.test", i);
      put_name(&data, text);
      put_rr(o, "_http._tcp.test", DNS_TYPE_PTR, 40, data.b, data.len);
    }
  } else if (!is(name, "two.test") && !is(name, "alias.test") && !is(name, "a0.test") &&
             !is(name, "empty.test")) {
    o->b[3] = DNS_RCODE_NXDOMAIN;
  }
}

/* The asker's eight bytes and eight of ours, when its question ends in an OPT record with a cookie. */
static void put_cookie(out_t *o, const uint8_t *q, size_t len)
{
  uint8_t opt[31] = {0, 0, DNS_TYPE_OPT, 4, 208, 0, 0, 0, 0, 0, 20, 0, 10, 0, 16};
  size_t at = len;
  for (size_t i = DNS_HEADER_LEN; i + 15 + 8 <= len; i++)
    if (memcmp(q + i, opt, 5) == 0 && q[i + 11] == 0 && q[i + 12] == 10)
      at = i;
  if (at == len)
    return;
  memcpy(opt + 15, q + at + 15, 8);
  memcpy(opt + 23, "ourwords", 8);
  put(o, opt, sizeof opt);
  o->b[11] = 1; /* ARCOUNT */
}

static void reply_to(fake_t *f, const uint8_t *q, size_t len, bool tcp, out_t *o)
{
  dns_wire_t w = dns_wire_of(q, len);
  dns_header_t h;
  dns_name_t name;
  uint16_t type, klass;
  o->len = 0;
  int how = f->behaviour;
  if (how == SILENT || dns_wire_header(&w, &h) || dns_wire_question(&w, &name, &type, &klass))
    return;
  put(o, q, w.at);
  memset(o->b + 6, 0, 6);
  o->b[2] = 0x80;
  o->b[3] = 0;
  if (how == REFUSE)
    o->b[3] = DNS_RCODE_REFUSED;
  else if (how == TRUNCATE && !tcp)
    o->b[2] |= DNS_FLAG_TC >> 8;
  else if (how == LONG_CHAIN)
    put_chain(o, LOOKUP_CHAIN_MAX + 1, DNS_TYPE_A);
  else if (how == BAD_SERVICE) {
    put_srv(o, "_http._tcp.two.test", 1, 99, "wrong.test");
    put_rr(o, "_http._tcp.two.test", DNS_TYPE_SRV, 60, "\0\1\0", 3);
  } else if (how == TWO_CHAINS)
    put_chain(o, LOOKUP_CHAIN_MAX, type);
  else
    put_records(o, &name, type, f->moved);
  if (how == WRONG_CASE)
    o->b[DNS_HEADER_LEN + 1] ^= 0x20; /* the first letter */
  if (how == COOKIES)
    put_cookie(o, q, len);
  if (how == BROKEN && o->b[7] > 0)
    o->len -= 3;
}

static void *serve_udp(void *arg)
{
  fake_t *f = arg;
  uint8_t q[1500];
  out_t o;
  struct sockaddr_in from;
  for (;;) {
    socklen_t fl = sizeof from;
    ssize_t n = recvfrom(f->udp, q, sizeof q, 0, (struct sockaddr *)&from, &fl);
    if (n <= 0)
      return NULL;
    f->source = ntohl(from.sin_addr.s_addr);
    f->udp_asked++;
    reply_to(f, q, (size_t)n, false, &o);
    if (o.len > 0)
      sendto(f->udp, o.b, o.len, 0, (struct sockaddr *)&from, fl);
  }
}

static bool recv_whole(int fd, uint8_t *data, size_t len)
{
  return recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

static void *serve_tcp(void *arg)
{
  fake_t *f = arg;
  for (;;) {
    uint8_t head[2], q[1500];
    out_t o;
    int fd = accept(f->tcp, NULL, NULL);
    if (fd < 0)
      return NULL;
    while (recv_whole(fd, head, 2)) {
      size_t n = (size_t)head[0] << 8 | head[1];
      if (n > sizeof q || !recv_whole(fd, q, n))
        break;
      f->tcp_asked++;
      reply_to(f, q, n, true, &o);
      head[0] = (uint8_t)(o.len >> 8);
      head[1] = (uint8_t)o.len;
      send(fd, head, 2, MSG_NOSIGNAL | MSG_MORE);
      send(fd, o.b, o.len, MSG_NOSIGNAL);
    }
    close(fd);
  }
}

static void fake_start(fake_t *f, behaviour_t how)
{
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof sa;
  memset(f, 0, sizeof *f);
  f->behaviour = how;
  for (int i = 0; i < 50; i++) {
    sa.sin_port = 0;
    f->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    f->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(f->tcp, (struct sockaddr *)&sa, sizeof sa) == 0 &&
        getsockname(f->tcp, (struct sockaddr *)&sa, &len) == 0 &&
        bind(f->udp, (struct sockaddr *)&sa, sizeof sa) == 0)
      break;
    close(f->tcp);
    close(f->udp);
  }
  assert_int_equal(listen(f->tcp, 8), 0);
  assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&sa, &f->at), SMPL_OK);
  assert_int_equal(pthread_create(&f->threads[0], NULL, serve_udp, f), 0);
  assert_int_equal(pthread_create(&f->threads[1], NULL, serve_tcp, f), 0);
}

static void fake_stop(fake_t *f)
{
  shutdown(f->udp, SHUT_RDWR); /* wakes whoever reads, also where a datagram would find no room */
  shutdown(f->tcp, SHUT_RDWR);
  pthread_join(f->threads[0], NULL);
  pthread_join(f->threads[1], NULL);
  close(f->udp);
  close(f->tcp);
}

typedef struct result {
  int calls, err;
  lookup_addrs_t addrs;
  lookup_srvs_t srvs;
  lookup_ptrs_t ptrs;
} result_t;

static void on_addrs(void *ctx, int err, const lookup_addrs_t *addrs)
{
  result_t *r = ctx;
  r->calls++;
  r->err = err;
  r->addrs = *addrs;
}

static void on_srvs(void *ctx, int err, const lookup_srvs_t *srvs)
{
  result_t *r = ctx;
  r->calls++;
  r->err = err;
  r->srvs = *srvs;
}

static void on_ptrs(void *ctx, int err, const lookup_ptrs_t *ptrs)
{
  result_t *r = ctx;
  r->calls++;
  r->err = err;
  r->ptrs = *ptrs;
}

enum { PTR = 2 }; /* beside false for addresses and true for services */

/* A lookup on a loop of its own, for more than one question. */
typedef struct client {
  uv_loop_t loop;
  lookup_t *lookup;
} client_t;

static void client_open(client_t *c, const endpoint_t *servers, size_t count, const ip_t *source)
{
  diag_t diag = {{0}};
  lookup_conf_t conf = {servers, count, source, 1500};
  uv_loop_init(&c->loop);
  assert_int_equal(lookup_new(&c->loop, &conf, &c->lookup, &diag), SMPL_OK);
}

static void client_close(client_t *c)
{
  lookup_free(c->lookup);
  uv_run(&c->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&c->loop), 0);
}

static result_t client_ask(client_t *c, const char *text, int srv)
{
  result_t r = {0};
  dns_name_t name;
  assert_int_equal(dns_name_from_text(text, &name), SMPL_OK);
  if (srv == PTR)
    assert_int_equal(lookup_pointers(c->lookup, NULL, &name, on_ptrs, &r, NULL), SMPL_OK);
  else if (srv)
    assert_int_equal(lookup_services(c->lookup, NULL, &name, on_srvs, &r, NULL), SMPL_OK);
  else
    assert_int_equal(lookup_addresses(c->lookup, NULL, &name, on_addrs, &r, NULL), SMPL_OK);
  assert_int_equal(r.calls, 0); /* never from inside */
  while (r.calls == 0)
    uv_run(&c->loop, UV_RUN_ONCE);
  assert_int_equal(r.calls, 1);
  return r;
}

/* One question on a loop of its own, to the end. */
static result_t ask(const char *text, int srv, const endpoint_t *servers, size_t count, const ip_t *source)
{
  client_t c;
  client_open(&c, servers, count, source);
  result_t r = client_ask(&c, text, srv);
  client_close(&c);
  return r;
}

static void addresses_of_both_families_come_together_from_the_given_source(void **state)
{
  (void)state;
  fake_t f;
  ip_t source;
  char text[IP_TEXT_MAX];
  fake_start(&f, ANSWER);
  assert_int_equal(ip_parse("127.46.0.5", &source), SMPL_OK);
  result_t r = ask("Two.Test", false, &f.at, 1, &source);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.addrs.count, 3);
  assert_string_equal(ip_format(&r.addrs.addrs[0], text), "10.0.0.1");
  assert_string_equal(ip_format(&r.addrs.addrs[2], text), "fd00::1");
  assert_int_equal(r.addrs.ttl, 100);
  assert_int_equal(f.source, 0x7f2e0005);
  fake_stop(&f);
}

static void an_alias_is_followed_in_any_order_and_strangers_are_ignored(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, ANSWER);
  result_t r = ask("alias.test", false, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.addrs.count, 1);
  assert_int_equal(r.addrs.chain_count, 1);
  assert_true(is(&r.addrs.chain[0], "two.test"));
  assert_int_equal(r.addrs.ttl, 50);
  fake_stop(&f);
}

static void an_alias_chain_ends_at_its_limit(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, ANSWER);
  result_t r = ask("a0.test", false, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.addrs.chain_count, LOOKUP_CHAIN_MAX);
  f.behaviour = LONG_CHAIN;
  r = ask("a0.test", false, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_ELIMIT);
  fake_stop(&f);
}

static void aliases_of_both_families_are_told(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, ANSWER);
  result_t r = ask("split.test", false, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.addrs.count, 2);
  assert_int_equal(r.addrs.chain_count, 3);
  assert_true(is(&r.addrs.chain[0], "shared.test"));
  assert_true(is(&r.addrs.chain[1], "four.test"));
  assert_true(is(&r.addrs.chain[2], "six.test"));
  r = ask("half.test", false, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.addrs.count, 2);
  assert_int_equal(r.addrs.chain_count, 1);
  assert_true(is(&r.addrs.chain[0], "six.test"));
  fake_stop(&f);
}

static void two_chains_at_their_limit_are_told_whole(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, TWO_CHAINS);
  result_t r = ask("a0.test", false, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.addrs.count, 2);
  assert_int_equal(r.addrs.chain_count, LOOKUP_CHAINS_MAX);
  assert_true(is(&r.addrs.chain[LOOKUP_CHAINS_MAX - 1], "b8.test"));
  fake_stop(&f);
}

static void what_a_broken_answer_said_of_services_is_forgotten(void **state)
{
  (void)state;
  fake_t first, second;
  fake_start(&first, BAD_SERVICE);
  fake_start(&second, ANSWER);
  endpoint_t both[2] = {first.at, second.at};
  result_t r = ask("_http._tcp.two.test", true, both, 2, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_true(first.udp_asked > 0);
  assert_int_equal(r.srvs.count, 2);
  fake_stop(&first);
  fake_stop(&second);
}

static void services_come_in_order_of_priority(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, ANSWER);
  result_t r = ask("_http._tcp.two.test", true, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.srvs.count, 2);
  assert_int_equal(r.srvs.srvs[0].port, 80);
  assert_true(is(&r.srvs.srvs[0].target, "two.test"));
  assert_int_equal(r.srvs.srvs[1].port, 81);
  fake_stop(&f);
}

static void pointers_are_kept_up_to_their_limit(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, TRUNCATE);
  result_t r = ask("_http._tcp.test", PTR, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_true(f.tcp_asked > 0);
  assert_int_equal(r.ptrs.count, LOOKUP_PTRS_MAX);
  assert_int_equal(r.ptrs.ttl, 40);
  assert_true(is(&r.ptrs.names[3], "_http._tcp.s3.test"));
  assert_int_equal(ask("absent.test", PTR, &f.at, 1, NULL).err, SMPL_ENOENT);
  assert_int_equal(ask("empty.test", PTR, &f.at, 1, NULL).err, SMPL_EINVAL);
  fake_stop(&f);
}

static void absent_names_and_empty_names_are_told_apart(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, ANSWER);
  assert_int_equal(ask("absent.test", false, &f.at, 1, NULL).err, SMPL_ENOENT);
  assert_int_equal(ask("empty.test", false, &f.at, 1, NULL).err, SMPL_EINVAL);
  assert_int_equal(ask("empty.test", true, &f.at, 1, NULL).err, SMPL_EINVAL);
  fake_stop(&f);
}

static void the_next_server_is_asked_when_one_is_silent_refuses_or_answers_wrongly(void **state)
{
  (void)state;
  static const behaviour_t bad[] = {SILENT, REFUSE, WRONG_CASE, BROKEN};
  static const int alone[] = {SMPL_ETIMEOUT, SMPL_EDENIED, SMPL_EPROTO, SMPL_EPROTO};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fake_t first, second;
    fake_start(&first, bad[i]);
    fake_start(&second, ANSWER);
    endpoint_t both[2] = {first.at, second.at};
    result_t r = ask("two.test", false, both, 2, NULL);
    assert_int_equal(r.err, SMPL_OK);
    assert_int_equal(r.addrs.count, 3);
    assert_true(first.udp_asked > 0);
    assert_int_equal(ask("two.test", false, &first.at, 1, NULL).err, alone[i]);
    fake_stop(&first);
    fake_stop(&second);
  }
}

static void a_dead_server_is_an_error_and_not_a_hang(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, ANSWER);
  endpoint_t at = f.at;
  fake_stop(&f);
  int err = ask("two.test", false, &at, 1, NULL).err;
  assert_true(err == SMPL_ECLOSED || err == SMPL_ETIMEOUT);
}

static void a_truncated_answer_is_asked_for_again_by_tcp(void **state)
{
  (void)state;
  fake_t f;
  fake_start(&f, TRUNCATE);
  result_t r = ask("two.test", false, &f.at, 1, NULL);
  assert_int_equal(r.err, SMPL_OK);
  assert_int_equal(r.addrs.count, 3);
  assert_int_equal(f.tcp_asked, 2);
  fake_stop(&f);
}

/* No cache but the answers' own life in the caller's hands: c-ares from 1.31 on would keep one. */
static void a_record_that_moved_is_seen_by_the_next_question(void **state)
{
  (void)state;
  fake_t f;
  client_t c;
  char text[IP_TEXT_MAX];
  fake_start(&f, ANSWER);
  client_open(&c, &f.at, 1, NULL);
  for (int i = 0; i < 4; i++) {
    f.moved = i % 2;
    result_t r = client_ask(&c, "moved.test", false);
    assert_int_equal(r.err, SMPL_OK);
    assert_int_equal(r.addrs.count, 1);
    assert_string_equal(ip_format(&r.addrs.addrs[0], text), i % 2 ? "10.0.0.2" : "10.0.0.1");
  }
  client_close(&c);
  fake_stop(&f);
}

/* c-ares from 1.33 on drops what comes without a cookie from a server that gave one, for two minutes. */
static void a_server_that_has_no_cookies_any_more_is_heard_again(void **state)
{
  (void)state;
  fake_t f;
  client_t c;
  fake_start(&f, COOKIES);
  client_open(&c, &f.at, 1, NULL);
  for (int i = 0; i < DNS_CHANNEL_PORTS; i++)
    assert_int_equal(client_ask(&c, "two.test", false).err, SMPL_OK);
  f.behaviour = ANSWER;
  int dropped = 0; /* each source port has to notice */
  while (dropped <= DNS_CHANNEL_PORTS && client_ask(&c, "two.test", false).err != SMPL_OK)
    dropped++;
  assert_in_range(dropped, 0, DNS_CHANNEL_PORTS);
  client_close(&c);
  fake_stop(&f);
}

static void a_cancelled_question_and_a_freed_lookup_call_nobody(void **state)
{
  (void)state;
  fake_t f;
  result_t r = {0};
  uv_loop_t loop;
  lookup_t *l;
  lookup_query_t *q;
  dns_name_t name;
  diag_t diag = {{0}};
  fake_start(&f, SILENT);
  lookup_conf_t conf = {&f.at, 1, NULL, 100};
  uv_loop_init(&loop);
  dns_name_from_text("two.test", &name);
  assert_int_equal(lookup_new(&loop, &conf, &l, &diag), SMPL_OK);
  assert_int_equal(lookup_addresses(l, NULL, &name, on_addrs, &r, &q), SMPL_OK);
  lookup_cancel(q);
  assert_int_equal(lookup_addresses(l, NULL, &name, on_addrs, &r, NULL), SMPL_OK);
  uv_run(&loop, UV_RUN_ONCE);
  lookup_free(l);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  assert_int_equal(r.calls, 0);
  fake_stop(&f);
}

static void questions_above_the_limit_are_refused(void **state)
{
  (void)state;
  fake_t f;
  result_t r = {0};
  uv_loop_t loop;
  lookup_t *l;
  dns_name_t name;
  diag_t diag = {{0}};
  fake_start(&f, SILENT);
  lookup_conf_t conf = {&f.at, 1, NULL, 5000};
  uv_loop_init(&loop);
  dns_name_from_text("two.test", &name);
  assert_int_equal(lookup_new(&loop, &conf, &l, &diag), SMPL_OK);
  for (int i = 0; i < LOOKUP_PENDING_MAX; i++)
    assert_int_equal(lookup_services(l, NULL, &name, on_srvs, &r, NULL), SMPL_OK);
  assert_int_equal(lookup_services(l, NULL, &name, on_srvs, &r, NULL), SMPL_ELIMIT);
  lookup_free(l);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  fake_stop(&f);
}

/* One user's questions to a server that does not answer: he gets no more than his share, whoever comes
 * after him is asked for. */
static void one_owner_does_not_take_all_places(void **state)
{
  (void)state;
  fake_t f;
  result_t r = {0};
  uv_loop_t loop;
  lookup_t *l;
  lookup_query_t *q;
  dns_name_t name;
  diag_t diag = {{0}};
  unsigned greedy = 0, others = 0;
  char user[16];
  fake_start(&f, SILENT);
  lookup_conf_t conf = {&f.at, 1, NULL, 5000};
  uv_loop_init(&loop);
  dns_name_from_text("two.test", &name);
  assert_int_equal(lookup_new(&loop, &conf, &l, &diag), SMPL_OK);
  while (lookup_services(l, "greedy", &name, on_srvs, &r, &q) == SMPL_OK) {
    lookup_cancel(q); /* what he gave up counts until it is over */
    greedy++;
  }
  assert_int_equal(greedy, LOOKUP_PENDING_MAX / (LOOKUP_PART + 1));
  for (; others < 400; others++) { /* and each of as many users gets his one */
    snprintf(user, sizeof user, "user%u", others);
    assert_int_equal(lookup_addresses(l, user, &name, on_addrs, &r, NULL), SMPL_OK);
    assert_int_equal(lookup_services(l, "greedy", &name, on_srvs, &r, NULL), SMPL_ELIMIT);
  }
  lookup_free(l);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  fake_stop(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_owner_does_not_take_all_places),
      cmocka_unit_test(addresses_of_both_families_come_together_from_the_given_source),
      cmocka_unit_test(an_alias_is_followed_in_any_order_and_strangers_are_ignored),
      cmocka_unit_test(an_alias_chain_ends_at_its_limit),
      cmocka_unit_test(aliases_of_both_families_are_told),
      cmocka_unit_test(two_chains_at_their_limit_are_told_whole),
      cmocka_unit_test(what_a_broken_answer_said_of_services_is_forgotten),
      cmocka_unit_test(services_come_in_order_of_priority),
      cmocka_unit_test(pointers_are_kept_up_to_their_limit),
      cmocka_unit_test(absent_names_and_empty_names_are_told_apart),
      cmocka_unit_test(the_next_server_is_asked_when_one_is_silent_refuses_or_answers_wrongly),
      cmocka_unit_test(a_dead_server_is_an_error_and_not_a_hang),
      cmocka_unit_test(a_truncated_answer_is_asked_for_again_by_tcp),
      cmocka_unit_test(a_record_that_moved_is_seen_by_the_next_question),
      cmocka_unit_test(a_server_that_has_no_cookies_any_more_is_heard_again),
      cmocka_unit_test(a_cancelled_question_and_a_freed_lookup_call_nobody),
      cmocka_unit_test(questions_above_the_limit_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
