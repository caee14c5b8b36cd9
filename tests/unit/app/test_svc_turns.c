#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "app/services/turns.h"
#include "common/clock.h"
#include "common/error.h"

#define HEAVY "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define OTHER "11111111-2222-4333-8444-555555555555"

/* The tests' time: stands in for common/clock.c. */
static uint64_t now_us = 1000;

uint64_t clock_mono_us(void)
{
  return now_us;
}

typedef struct read {
  turn_t turn; /* first */
  uint64_t takes_us;
  int runs;
} read_t;

static uv_loop_t loop;
static turns_t *turns;
static int order;

static void run(turn_t *turn)
{
  read_t *r = (read_t *)turn;
  now_us += r->takes_us;
  r->runs = ++order;
}

static int take(read_t *r, const char *account, uint64_t takes_us)
{
  *r = (read_t){.turn = {.run = run}, .takes_us = takes_us};
  return turns_take(turns, &r->turn, account);
}

static int set_up(void **state)
{
  (void)state;
  order = 0;
  uv_loop_init(&loop);
  return turns_new(&loop, &turns);
}

static void on_closed(void *ctx)
{
  *(bool *)ctx = true;
}

static int tear_down(void **state)
{
  bool closed = false;
  (void)state;
  turns_close(turns, on_closed, &closed);
  uv_run(&loop, UV_RUN_DEFAULT);
  return closed ? uv_loop_close(&loop) : -1;
}

static void short_reads_run_at_once(void **state)
{
  read_t r;
  (void)state;
  for (int i = 1; i <= 100; i++) {
    now_us += 1000;
    assert_int_equal(take(&r, HEAVY, 1000 / TURNS_SHARE), SMPL_OK);
    assert_int_equal(r.runs, i);
  }
}

static void long_reads_of_one_account_run_one_a_turn_and_others_at_once(void **state)
{
  read_t heavy[4], other;
  (void)state;
  for (int i = 0; i < 4; i++)
    assert_int_equal(take(&heavy[i], HEAVY, TURNS_FREE_US + 1), SMPL_OK);
  for (int i = 1; i < 4; i++) {
    assert_int_equal(heavy[i].runs, 0);
    assert_int_equal(take(&other, OTHER, 100), SMPL_OK);
    assert_int_equal(other.runs, 2 * i);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(heavy[i].runs, 2 * i + 1);
  }
}

static void used_time_is_paid_back_at_its_share(void **state)
{
  read_t r;
  (void)state;
  assert_int_equal(take(&r, HEAVY, TURNS_FREE_US + 1000), SMPL_OK);
  now_us += 1000 * TURNS_SHARE - 1;
  assert_int_equal(take(&r, HEAVY, 0), SMPL_OK);
  assert_int_equal(r.runs, 0);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(r.runs, 2);
  now_us += 1000 * TURNS_SHARE;
  assert_int_equal(take(&r, HEAVY, 0), SMPL_OK);
  assert_int_equal(r.runs, 3);
}

static void the_queue_takes_its_limit_and_not_one_more(void **state)
{
  static read_t r[TURNS_QUEUED_MAX + 2];
  (void)state;
  for (int i = 0; i <= TURNS_QUEUED_MAX; i++)
    assert_int_equal(take(&r[i], HEAVY, i == 0 ? TURNS_FREE_US + 1 : 0), SMPL_OK);
  assert_int_equal(take(&r[TURNS_QUEUED_MAX + 1], HEAVY, 0), SMPL_ELIMIT);
  uv_run(&loop, UV_RUN_DEFAULT); /* ends: nothing keeps the loop busy */
  assert_int_equal(r[TURNS_QUEUED_MAX].runs, TURNS_QUEUED_MAX + 1);
  assert_int_equal(r[TURNS_QUEUED_MAX + 1].runs, 0);
}

static void cheap_reads_are_never_counted(void **state)
{
  (void)state;
  read_t r;
  int cheap = 10 * TURNS_FREE_US / TURNS_CHEAP_US, dear = 0;
  for (int i = 0; i < cheap; i++) {
    assert_int_equal(take(&r, "cheap", TURNS_CHEAP_US), SMPL_OK);
    assert_int_equal(r.runs, i + 1); /* at once */
  }
  do
    assert_int_equal(take(&r, "cheap", TURNS_CHEAP_US + 1), SMPL_OK);
  while (r.runs != 0 && ++dear < cheap);
  assert_true(dear < cheap); /* the last one waits: a read that is one longer counts */
  uv_run(&loop, UV_RUN_DEFAULT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(cheap_reads_are_never_counted, set_up, tear_down),
      cmocka_unit_test_setup_teardown(short_reads_run_at_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(long_reads_of_one_account_run_one_a_turn_and_others_at_once, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(used_time_is_paid_back_at_its_share, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_queue_takes_its_limit_and_not_one_more, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
