/* SPDX-License-Identifier: Apache-2.0 */
/* Signs of life that a worker gives, or does not. */
#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "resolver/io/worker.h"

enum { PATIENCE_MS = 120000 };

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static bool answers_within(worker_t *w, unsigned ms)
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
  worker_t *w;
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

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_stuck_worker_gives_no_sign_of_life)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
