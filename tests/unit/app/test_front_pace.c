/* SPDX-License-Identifier: Apache-2.0 */
/* How much of one peer's work runs before another one's request: counted in rounds of the loop, on a real
 * front. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "app/http/front.h"
#include "app/http/front_state.h"
#include "common/base/error.h"
#include "tests/unit/app/echo_service.h"

enum { ROUNDS_MAX = 2000, PATIENT_MS = 60000, PIPELINED = 100, SHAKING = 40, PLAIN = 0, TLS = 1 };

#define BALANCER "127.10.0.7"

static uv_loop_t loop;
static rule_t rule;
static router_t *router;
static listener_conf_t listeners[2];
static access_log_t *access_log;
static void *service;
static front_t *front;
static ip_net_t balancer;
static bool drained;
static char folder[64], certificate[128], key_file[128];

/* A self-signed certificate in files of its own. */
static int write_certificate(void)
{
  X509 *x = X509_new();
  EVP_PKEY *key = EVP_EC_gen("P-256");
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_gmtime_adj(X509_getm_notBefore(x), 0);
  X509_gmtime_adj(X509_getm_notAfter(x), 86400);
  X509_set_pubkey(x, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1,
                             -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  X509_sign(x, key, EVP_sha256());
  snprintf(folder, sizeof folder, "/tmp/smpl-pace-XXXXXX");
  if (mkdtemp(folder) == NULL)
    return -1;
  snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
  snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
  FILE *f = fopen(certificate, "we"), *g = fopen(key_file, "we");
  int ok = f != NULL && g != NULL && chmod(key_file, 0600) == 0 && PEM_write_X509(f, x) &&
           PEM_write_PrivateKey(g, key, NULL, NULL, 0, NULL, NULL);
  fclose(f);
  fclose(g);
  X509_free(x);
  EVP_PKEY_free(key);
  return ok ? 0 : -1;
}

static int set_up(void **state)
{
  diag_t diag = {.text = ""};
  route_source_t source = {.routes = echo_service.routes, .count = echo_service.route_count};
  (void)state;
  drained = false;
  uv_loop_init(&loop);
  service_env_t env = {.loop = &loop};
  if (write_certificate() || echo_service.open(&env, &service, &diag) || rule_parse("/api/v1/*", &rule))
    return -1;
  source.context = service;
  if (router_new(&rule, 1, &source, 1, &router, &diag) || access_open("/dev/null", &access_log, &diag))
    return -1;
  for (size_t i = 0; i < 2; i++) {
    listeners[i] = (listener_conf_t){
        .name = i == TLS ? "tls" : "plain",
        .admit = {.rules = &rule, .rule_count = 1, .own_address = "127.0.0.1", .router = router}};
    endpoint_parse("127.0.0.1:0", &listeners[i].address);
  }
  if (tls_open(certificate, key_file, &listeners[TLS].tls, &diag) || ip_net_parse(BALANCER, &balancer))
    return -1;
  front_conf_t conf = {.listeners = listeners,
                       .listener_count = 2,
                       .access = access_log,
                       .balancers = &balancer,
                       .balancer_count = 1,
                       .limits = front_limits_default};
  return front_open(&loop, &conf, &front, &diag);
}

static void on_drained(void *ctx, size_t abandoned)
{
  (void)ctx;
  (void)abandoned;
  drained = true;
}

static void ignore(void *ctx)
{
  (void)ctx;
}

static int tear_down(void **state)
{
  (void)state;
  front_drain(front, 0, on_drained, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  front_free(front);
  tls_free(listeners[TLS].tls);
  router_free(router);
  access_close(access_log);
  echo_service.close(service, ignore, NULL);
  unlink(certificate);
  unlink(key_file);
  rmdir(folder);
  return uv_loop_close(&loop);
}

static void rounds(size_t count)
{
  for (size_t i = 0; i < count; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
}

static int dial(const char *from, size_t listener)
{
  struct sockaddr_storage sa;
  endpoint_t source, at = front_address(front, listener);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(endpoint_parse(from, &source), SMPL_OK);
  socklen_t len = endpoint_to_sockaddr(&source, &sa);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
  len = endpoint_to_sockaddr(&at, &sa);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  size_t before = front_connections(front);
  for (size_t i = 0; i < ROUNDS_MAX && front_connections(front) == before; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  return fd;
}

static void say(int fd, const void *bytes, size_t len)
{
  assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static const char *request_of(const char *source)
{
  static char text[256];
  snprintf(text, sizeof text, "GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n%s%s%s\r\n",
           source != NULL ? "X-Forwarded-For: " : "", source != NULL ? source : "",
           source != NULL ? "\r\n" : "");
  return text;
}

static void say_requests(int fd, const char *source, size_t count)
{
  char all[PIPELINED * 160];
  size_t len = 0;
  for (size_t i = 0; i < count; i++)
    len += (size_t)snprintf(all + len, sizeof all - len, "%s", request_of(source));
  say(fd, all, len);
}

/* Answers that have come since it was called last. */
static size_t answers(int fd)
{
  static char bytes[1 << 18];
  size_t count = 0;
  ssize_t n = recv(fd, bytes, sizeof bytes - 1, 0);
  bytes[n > 0 ? n : 0] = '\0';
  for (const char *at = bytes; (at = strstr(at, "HTTP/1.1 200 ")) != NULL; at++)
    count++;
  return count;
}

/* Rounds until that peer has something to read. */
static size_t rounds_until_answered(int fd)
{
  char byte;
  for (size_t i = 0; i < ROUNDS_MAX; i++) {
    if (recv(fd, &byte, 1, MSG_PEEK) == 1)
      return i;
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  fail_msg("nothing came");
  return 0;
}

static void pipelined_requests_do_not_keep_others_waiting(const char *attacker, const char *victim,
                                                          const char *attackers_source,
                                                          const char *victims_source)
{
  int greedy = dial(attacker, PLAIN), modest = dial(victim, PLAIN);
  say_requests(greedy, attackers_source, PIPELINED);
  say_requests(modest, victims_source, 1);
  size_t waited = rounds_until_answered(modest);
  size_t before = answers(greedy);
  assert_in_range(before, 0, PACE_REQUESTS * (waited + 1));
  for (size_t i = 0; before < PIPELINED && i < ROUNDS_MAX; i++) {
    rounds(1);
    before += answers(greedy);
  }
  assert_int_equal(before, PIPELINED);
  assert_true(front_is_idle(front));
  assert_false(uv_is_active((uv_handle_t *)&front->env.rounds.idle));
  close(greedy);
  close(modest);
}

static void pipelined_requests_run_a_few_in_each_round(void **state)
{
  (void)state;
  pipelined_requests_do_not_keep_others_waiting("127.0.1.1:0", "127.0.2.1:0", NULL, NULL);
}

static void pipelined_requests_of_a_balancer_run_a_few_in_each_round(void **state)
{
  (void)state;
  pipelined_requests_do_not_keep_others_waiting(BALANCER ":0", BALANCER ":0", "203.0.113.1", "198.51.100.1");
}

static void a_round_has_a_bounded_number_of_connections_that_go_on(void **state)
{
  enum { CONNECTIONS = PACE_CONNECTIONS + 16, REQUESTS = 3 * PACE_REQUESTS };
  int greedy[CONNECTIONS];
  size_t got = 0;
  (void)state;
  for (size_t i = 0; i < CONNECTIONS; i++)
    greedy[i] = dial("127.0.1.1:0", PLAIN);
  for (size_t i = 0; i < CONNECTIONS; i++)
    say_requests(greedy[i], NULL, REQUESTS);
  /* The first ones of each run as they are read; the others wait. */
  for (size_t ran = 1; got < CONNECTIONS * REQUESTS && ran < ROUNDS_MAX; ran++) {
    rounds(1);
    for (size_t i = 0; i < CONNECTIONS; i++)
      got += answers(greedy[i]);
    assert_in_range(got, 0, (CONNECTIONS + (ran - 1) * PACE_CONNECTIONS) * PACE_REQUESTS);
  }
  assert_int_equal(got, CONNECTIONS * REQUESTS);
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(greedy[i]);
}

static int connect_unseen(void)
{
  struct sockaddr_storage sa;
  endpoint_t at = front_address(front, PLAIN);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t len = endpoint_to_sockaddr(&at, &sa);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

/* Accepting costs as much as a request: whoever comes and goes keeps nobody waiting for more than a round's.
 */
static void a_round_accepts_a_bounded_number_of_connections(void **state)
{
  enum { CONNECTIONS = 4 * PACE_ACCEPTS + 1 };
  int fds[CONNECTIONS];
  (void)state;
  int modest = dial("127.0.2.1:0", PLAIN);
  rounds(1);
  for (size_t i = 0; i < CONNECTIONS; i++)
    fds[i] = connect_unseen();
  say_requests(modest, NULL, 1);
  size_t waited = rounds_until_answered(modest);
  assert_in_range(front_connections(front), 1, 1 + waited * PACE_ACCEPTS);
  for (size_t ran = waited; front_connections(front) < 1 + CONNECTIONS && ran < ROUNDS_MAX; ran++) {
    rounds(1);
    assert_in_range(front_connections(front), 1, 1 + (ran + 1) * PACE_ACCEPTS);
  }
  assert_int_equal(front_connections(front), 1 + CONNECTIONS);
  rounds(1);
  assert_true(front_is_idle(front));
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(fds[i]);
  close(modest);
}

/* Who has connected is not reset, though the listener has not come to him. */
static void whoever_waits_to_be_accepted_is_served_when_the_listener_closes(void **state)
{
  enum { CONNECTIONS = 2 * PACE_ACCEPTS };
  int fds[CONNECTIONS];
  size_t got = 0;
  (void)state;
  for (size_t i = 0; i < CONNECTIONS; i++) {
    fds[i] = connect_unseen();
    say_requests(fds[i], NULL, 1);
  }
  rounds(1);
  assert_in_range(front_connections(front), 1, PACE_ACCEPTS);
  front_drain(front, 0, on_drained, NULL);
  for (size_t ran = 0; got < CONNECTIONS && ran < ROUNDS_MAX; ran++) {
    rounds(1);
    for (size_t i = 0; i < CONNECTIONS; i++)
      got += answers(fds[i]);
  }
  assert_int_equal(got, CONNECTIONS);
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(fds[i]);
}

/* The i-th of a network. */
static const char *neighbour(const char *network, unsigned i)
{
  static char text[32];
  snprintf(text, sizeof text, "%s%u", network, i % 200 + 1);
  return text;
}

static int dial_as(bool balanced, const char *source)
{
  char from[48];
  snprintf(from, sizeof from, "%s:0", balanced ? BALANCER : source);
  return dial(from, PLAIN);
}

/* Many connections of one network that all pipeline; then somebody else who pipelines more than one turn's
 * requests. He waits for a round by turn, whatever the others have waiting. */
static void connections_that_pipeline_keep_nobody_else_waiting(bool balanced)
{
  enum { CONNECTIONS = 6 * PACE_CONNECTIONS, TURNS = 3, ASKED = TURNS * PACE_REQUESTS };
  static const char victim[] = "127.0.2.1", network[] = "127.0.1.";
  int greedy[CONNECTIONS];
  size_t got = 0, theirs = 0, ran = 0;
  for (unsigned i = 0; i < CONNECTIONS; i++)
    greedy[i] = dial_as(balanced, neighbour(network, i));
  int modest = dial_as(balanced, victim);
  for (unsigned i = 0; i < CONNECTIONS; i++)
    say_requests(greedy[i], balanced ? neighbour(network, i) : NULL, PIPELINED);
  rounds(2); /* all of them wait now */
  for (size_t i = 0; i < CONNECTIONS; i++)
    answers(greedy[i]);
  say_requests(modest, balanced ? victim : NULL, ASKED);
  for (; got < ASKED && ran < ROUNDS_MAX; ran++) {
    rounds(1);
    got += answers(modest);
  }
  for (size_t i = 0; i < CONNECTIONS; i++)
    theirs += answers(greedy[i]);
  assert_int_equal(got, ASKED);
  assert_in_range(ran, TURNS, TURNS + 1);
  assert_in_range(theirs, 1, ran * PACE_CONNECTIONS * PACE_REQUESTS);
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(greedy[i]);
  close(modest);
}

/* Many connections of one network that each ask once, all in the same round; then somebody else, who comes
 * last. */
static void connections_that_ask_at_once_keep_nobody_else_waiting(bool balanced)
{
  enum { CONNECTIONS = 8 * PACE_BEGUN };
  static const char victim[] = "127.0.2.1", network[] = "127.0.1.";
  int greedy[CONNECTIONS];
  size_t got = 0, ran = 0;
  for (unsigned i = 0; i < CONNECTIONS; i++)
    greedy[i] = dial_as(balanced, neighbour(network, i));
  int modest = dial_as(balanced, victim);
  for (unsigned i = 0; i < CONNECTIONS; i++)
    say_requests(greedy[i], balanced ? neighbour(network, i) : NULL, 1);
  say_requests(modest, balanced ? victim : NULL, 1);
  size_t waited = rounds_until_answered(modest);
  for (size_t i = 0; i < CONNECTIONS; i++)
    got += answers(greedy[i]);
  assert_in_range(waited, 1,
                  balanced ? 2
                           : 1); /* behind a balancer he waits for a turn, as it is all that begins at once */
  assert_in_range(got, 1, PACE_BEGUN + waited * PACE_CONNECTIONS);
  for (; got < CONNECTIONS && ran < ROUNDS_MAX; ran++) {
    rounds(1);
    for (size_t i = 0; i < CONNECTIONS; i++)
      got += answers(greedy[i]);
  }
  assert_int_equal(got, CONNECTIONS);
  assert_true(front_is_idle(front));
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(greedy[i]);
  close(modest);
}

static void connections_of_one_network_that_ask_at_once_keep_nobody_else_waiting(void **state)
{
  (void)state;
  connections_that_ask_at_once_keep_nobody_else_waiting(false);
}

static void connections_of_a_balancer_that_ask_at_once_keep_none_of_its_other_clients_waiting(void **state)
{
  (void)state;
  connections_that_ask_at_once_keep_nobody_else_waiting(true);
}

/* Networks without end share one bound. */
static void requests_that_begin_in_a_round_are_bounded_for_all_networks(void **state)
{
  enum { CONNECTIONS = 2 * PACE_BEGUN_ALL };
  int fds[CONNECTIONS];
  char from[32];
  size_t got = 0;
  (void)state;
  for (unsigned i = 0; i < CONNECTIONS; i++) {
    snprintf(from, sizeof from, "127.%u.%u.1:0", 1 + i / 128, 1 + i % 128);
    fds[i] = dial(from, PLAIN);
  }
  for (size_t i = 0; i < CONNECTIONS; i++)
    say_requests(fds[i], NULL, 1);
  for (size_t ran = 1; got < CONNECTIONS && ran < ROUNDS_MAX; ran++) {
    rounds(1);
    for (size_t i = 0; i < CONNECTIONS; i++)
      got += answers(fds[i]);
    assert_in_range(got, 1, ran * (PACE_BEGUN_ALL + PACE_CONNECTIONS));
  }
  assert_int_equal(got, CONNECTIONS);
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(fds[i]);
}

/* What waits is held. When half of the room for heads is taken, little of each request is read before its
 * turn, so that nobody is closed for waiting. */
static void nobody_who_waits_is_closed_where_room_is_scarce(void **state)
{
  enum { CONNECTIONS = 8 * PACE_BEGUN, BODY = 16 << 10 };
  static char request[BODY + 256];
  int fds[CONNECTIONS];
  size_t got = 0;
  (void)state;
  front->env.limits.held[ROOM_HEADS] = (size_t)2 * CONNECTIONS * PACE_CROWDED_READ;
  int len = snprintf(request, sizeof request,
                     "PUT /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                     "Authorization: Bearer sk_api_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
                     "Content-Length: %d\r\n\r\n{\"value\":\"",
                     BODY);
  memset(request + len, 'v', BODY);
  memcpy(request + len + BODY - strlen("{\"value\":\"") - 2, "\"}", 2);
  for (size_t i = 0; i < CONNECTIONS; i++)
    fds[i] = dial("127.0.1.1:0", PLAIN);
  for (size_t i = 0; i < CONNECTIONS; i++)
    say(fds[i], request, (size_t)len - strlen("{\"value\":\"") + BODY);
  for (size_t ran = 0; got < CONNECTIONS && front_connections(front) == CONNECTIONS && ran < ROUNDS_MAX;
       ran++) {
    uv_run(&loop, UV_RUN_ONCE); /* threads parse the bodies */
    for (size_t i = 0; i < CONNECTIONS; i++)
      got += answers(fds[i]);
  }
  assert_int_equal(got, CONNECTIONS);
  assert_int_equal(front_connections(front), CONNECTIONS);
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(fds[i]);
}

/* Somebody takes the room for heads with many that he never ends, and asks at once on many other connections.
 */
static void heads_that_do_not_end_let_nobody_keep_others_waiting(void **state)
{
  enum { HEADS = 80, SENT = 5000, CONNECTIONS = 8 * PACE_BEGUN };
  static char head[SENT + 1];
  int unfinished[HEADS], greedy[CONNECTIONS];
  size_t got = 0;
  (void)state;
  front->env.limits.held[ROOM_HEADS] = 1 << 20;
  int len = snprintf(head, sizeof head, "GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nX-Long: ");
  memset(head + len, 'a', sizeof head - (size_t)len);
  for (size_t i = 0; i < HEADS; i++) {
    unfinished[i] = dial("127.0.1.1:0", PLAIN);
    say(unfinished[i], head, SENT);
  }
  rounds(8);
  assert_true(room_held(front->env.room, ROOM_HEADS) > front->env.limits.held[ROOM_HEADS] / 2);
  for (size_t i = 0; i < CONNECTIONS; i++)
    greedy[i] = dial("127.0.1.2:0", PLAIN);
  int modest = dial("127.0.2.1:0", PLAIN);
  for (size_t i = 0; i < CONNECTIONS; i++)
    say_requests(greedy[i], NULL, 1);
  say_requests(modest, NULL, 1);
  size_t waited = rounds_until_answered(modest);
  for (size_t i = 0; i < CONNECTIONS; i++)
    got += answers(greedy[i]);
  assert_int_equal(waited, 1);
  assert_in_range(got, 1, PACE_BEGUN + waited * PACE_CONNECTIONS);
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(greedy[i]);
  for (size_t i = 0; i < HEADS; i++)
    close(unfinished[i]);
  close(modest);
}

static void connections_of_one_network_that_pipeline_keep_nobody_else_waiting(void **state)
{
  (void)state;
  connections_that_pipeline_keep_nobody_else_waiting(false);
}

static void connections_of_a_balancer_that_pipeline_keep_none_of_its_other_clients_waiting(void **state)
{
  (void)state;
  connections_that_pipeline_keep_nobody_else_waiting(true);
}

/* The last head of a turn has come with its body, and nothing follows that would wake the connection. */
static void the_last_body_of_a_turn_is_read_in_that_turn(void **state)
{
  char all[PACE_REQUESTS * 240];
  size_t len = 0, got = 0;
  (void)state;
  int fd = dial("127.0.1.1:0", PLAIN);
  for (size_t i = 0; i < PACE_REQUESTS; i++)
    len += (size_t)snprintf(all + len, sizeof all - len,
                            "PUT /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                            "Authorization: Bearer sk_api_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
                            "Content-Length: 9\r\n\r\n{\"n\":123}");
  say(fd, all, len);
  for (size_t i = 0; got < PACE_REQUESTS && i < ROUNDS_MAX; i++) {
    rounds(1);
    got += answers(fd);
  }
  assert_int_equal(got, PACE_REQUESTS);
  close(fd);
}

static void a_connection_that_is_closed_while_it_waits_is_forgotten(void **state)
{
  (void)state;
  int greedy = dial("127.0.1.1:0", PLAIN);
  say_requests(greedy, NULL, PIPELINED);
  rounds(1);
  close(greedy);
  for (size_t i = 0; i < ROUNDS_MAX && front_connections(front) > 0; i++)
    rounds(1);
  assert_int_equal(front_connections(front), 0);
  assert_true(front_is_idle(front));
}

/* The first flight of a handshake, as bytes. */
static size_t hello(uint8_t *bytes, size_t cap)
{
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  SSL *ssl = SSL_new(ctx);
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_connect(ssl);
  int n = BIO_read(SSL_get_wbio(ssl), bytes, (int)cap);
  assert_true(n > 0);
  SSL_free(ssl);
  SSL_CTX_free(ctx);
  return (size_t)n;
}

static size_t answered(const int *fds)
{
  char byte;
  size_t count = 0;
  for (size_t i = 0; i < SHAKING; i++)
    count += recv(fds[i], &byte, 1, MSG_PEEK) == 1;
  return count;
}

/* Everybody of one network, at once; then somebody who only asks, and somebody who shakes hands too. */
static void handshakes_of_one_network_keep_neither_requests_nor_others_handshakes_waiting(void **state)
{
  int fds[SHAKING];
  char from[32];
  uint8_t bytes[4096];
  size_t len = hello(bytes, sizeof bytes);
  (void)state;
  for (unsigned i = 0; i < SHAKING; i++) {
    snprintf(from, sizeof from, "127.0.1.%u:0", i + 1);
    fds[i] = dial(from, TLS);
  }
  int asking = dial("127.0.2.1:0", PLAIN), shaking = dial("127.0.3.1:0", TLS);
  for (size_t i = 0; i < SHAKING; i++)
    say(fds[i], bytes, len);
  say_requests(asking, NULL, 1);
  say(shaking, bytes, len);
  size_t waited = rounds_until_answered(asking);
  assert_in_range(answered(fds), 0, PACE_HANDSHAKES * waited);
  waited += rounds_until_answered(shaking);
  assert_in_range(answered(fds), 0, PACE_HANDSHAKES * waited);
  assert_in_range(answered(fds), 0, SHAKING / 2); /* they were there first */
  for (size_t i = 0; i < ROUNDS_MAX && answered(fds) < SHAKING; i++)
    rounds(1);
  assert_int_equal(answered(fds), SHAKING);
  assert_true(front_is_idle(front));
  for (size_t i = 0; i < SHAKING; i++)
    close(fds[i]);
  close(asking);
  close(shaking);
}

static void a_handshake_that_is_given_up_while_it_waits_is_forgotten(void **state)
{
  int fds[SHAKING];
  uint8_t bytes[4096];
  size_t len = hello(bytes, sizeof bytes);
  (void)state;
  for (size_t i = 0; i < SHAKING; i++)
    fds[i] = dial("127.0.1.1:0", TLS);
  for (size_t i = 0; i < SHAKING; i++)
    say(fds[i], bytes, len);
  rounds(1);
  assert_false(front_is_idle(front));
  const phase_list_t *shaking = &front->listeners[TLS].conns.phases.lists[PHASE_HANDSHAKE];
  while (shaking->first != NULL)
    conn_close(conn_of_wait(shaking->first));
  rounds(3);
  assert_true(front_is_idle(front));
  assert_int_equal(front_connections(front), 0);
  for (size_t i = 0; i < SHAKING; i++)
    close(fds[i]);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(pipelined_requests_run_a_few_in_each_round),
      TEST(pipelined_requests_of_a_balancer_run_a_few_in_each_round),
      TEST(a_round_has_a_bounded_number_of_connections_that_go_on),
      TEST(a_round_accepts_a_bounded_number_of_connections),
      TEST(whoever_waits_to_be_accepted_is_served_when_the_listener_closes),
      TEST(connections_of_one_network_that_ask_at_once_keep_nobody_else_waiting),
      TEST(connections_of_a_balancer_that_ask_at_once_keep_none_of_its_other_clients_waiting),
      TEST(requests_that_begin_in_a_round_are_bounded_for_all_networks),
      TEST(nobody_who_waits_is_closed_where_room_is_scarce),
      TEST(heads_that_do_not_end_let_nobody_keep_others_waiting),
      TEST(connections_of_one_network_that_pipeline_keep_nobody_else_waiting),
      TEST(connections_of_a_balancer_that_pipeline_keep_none_of_its_other_clients_waiting),
      TEST(the_last_body_of_a_turn_is_read_in_that_turn),
      TEST(a_connection_that_is_closed_while_it_waits_is_forgotten),
      TEST(handshakes_of_one_network_keep_neither_requests_nor_others_handshakes_waiting),
      TEST(a_handshake_that_is_given_up_while_it_waits_is_forgotten),
  };
  return cmocka_run_group_tests_name("front pace", tests, NULL, NULL);
}
