/* SPDX-License-Identifier: Apache-2.0 */
/* Signs of life that a worker gives, or does not. */
#include "harness.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "resolver/io/udp.h"
#include "resolver/io/worker.h"
#include "resolver/limits.h"

enum {
  PATIENCE_MS = 120000,
  TAKEN = 20 * UDP_ROUNDS_MAX, /* batches after which the datagrams end */
};

static atomic_bool endless;      /* whether there is always one more full batch on every socket */
static size_t taken_from[TAKEN]; /* the listeners, one after the other */
static atomic_size_t taken;

size_t __real_udp_serve(udp_batch_t *batch, int fd, const snapshot_t *snapshot, responder_t *responder,
                        size_t listener);
size_t __wrap_udp_serve(udp_batch_t *batch, int fd, const snapshot_t *snapshot, responder_t *responder,
                        size_t listener);

size_t __wrap_udp_serve(udp_batch_t *batch, int fd, const snapshot_t *snapshot, responder_t *responder,
                        size_t listener)
{
  size_t n = atomic_load(&taken);
  if (!atomic_load(&endless) || n == TAKEN)
    return __real_udp_serve(batch, fd, snapshot, responder, listener);
  taken_from[n] = listener;
  atomic_store(&taken, n + 1);
  return UDP_BATCH;
}

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static bool answers_within(dns_worker_t *w, unsigned ms)
{
  for (unsigned i = 0; i < ms; i++) {
    usleep(1000);
    if (worker_ping(w))
      return true;
  }
  return false;
}

static void a_stuck_worker_gives_no_sign_of_life(void **state)
{
  (void)state;
  worker_shared_t shared = {0};
  worker_limits_t limits = {16, 1 << 20, 0};
  dns_worker_t *w;
  diag_t diag = {""};
  write_file("test_worker.yaml", "listeners:\n  - {address: 127.41.9.3, port: 5300, views: [v]}\n"
                                 "views:\n  - {name: v, clients: [127.0.0.0/8], zones: []}\n");
  if (snapshot_load("test_worker.yaml", 1, &shared.snapshot, &diag) ||
      worker_new(0, &shared, &limits, &w, &diag))
    fail_msg("%s", diag.text);
  assert_true(worker_ping(w));         /* never asked before */
  assert_false(answers_within(w, 20)); /* its thread does not run */
  assert_int_equal(worker_start(w, false, &diag), 0);
  assert_true(answers_within(w, PATIENCE_MS));
  assert_true(answers_within(w, PATIENCE_MS));
  assert_false(worker_draining(w));
  worker_drain(w);
  for (unsigned i = 0; i < PATIENCE_MS && !worker_draining(w); i++)
    usleep(1000);
  assert_true(worker_draining(w));
  assert_true(answers_within(w, PATIENCE_MS)); /* datagrams are still served */
  worker_stop(w);
  snapshot_free(shared.snapshot);
  unlink("test_worker.yaml");
}

/* An address that no other process of this machine has. */
static const char *own_address(void)
{
  static char text[INET_ADDRSTRLEN];
  unsigned pid = (unsigned)getpid();
  snprintf(text, sizeof text, "127.%u.%u.%u", 64 + (pid >> 16) % 64, (pid >> 8) % 256, pid % 256);
  return text;
}

static void send_datagram(unsigned short port)
{
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  assert_int_equal(inet_pton(AF_INET, own_address(), &to.sin_addr), 1);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_int_equal(sendto(fd, "?", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
  close(fd);
}

static void datagrams_of_one_listener_that_never_end_leave_the_others_their_turn(void **state)
{
  (void)state;
  worker_shared_t shared = {0};
  worker_limits_t limits = {16, 1 << 20, 0};
  dns_worker_t *w;
  diag_t diag = {""};
  char text[300];
  snprintf(
      text, sizeof text,
      "listeners:\n  - {address: %s, port: 5300, views: [v]}\n  - {address: %s, port: 5301, views: [v]}\n"
      "views:\n  - {name: v, clients: [127.0.0.0/8], zones: []}\n",
      own_address(), own_address());
  write_file("test_worker.yaml", text);
  if (snapshot_load("test_worker.yaml", 1, &shared.snapshot, &diag) ||
      worker_new(0, &shared, &limits, &w, &diag))
    fail_msg("%s", diag.text);
  atomic_store(&endless, true);
  send_datagram(5300);
  send_datagram(5301);
  assert_int_equal(worker_start(w, false, &diag), 0);
  for (unsigned i = 0; i < PATIENCE_MS && atomic_load(&taken) < TAKEN; i++)
    usleep(1000);
  assert_int_equal(atomic_load(&taken), TAKEN);
  size_t row = 0, turns = 1;
  for (size_t i = 0; i < TAKEN; i++) {
    bool same = i == 0 || taken_from[i] == taken_from[i - 1];
    row = same ? row + 1 : 1;
    turns += !same;
    assert_true(row <= UDP_ROUNDS_MAX);
  }
  assert_int_equal(turns, TAKEN / UDP_ROUNDS_MAX);
  worker_stop(w);
  snapshot_free(shared.snapshot);
  unlink("test_worker.yaml");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stuck_worker_gives_no_sign_of_life),
      cmocka_unit_test(datagrams_of_one_listener_that_never_end_leave_the_others_their_turn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
