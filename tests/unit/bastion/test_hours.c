/* SPDX-License-Identifier: Apache-2.0 */
/* Hours of the week, against a reference that goes through all of its minutes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bastion/policy/hours.h"
#include "common/base/error.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Ticks off every minute of a window, day by day. */
static void tick_off(const hours_window_t *w, bool *week)
{
  for (unsigned day = 0; day < 7; day++) {
    if ((w->days & 1u << day) == 0)
      continue;
    unsigned length = w->to > w->from ? w->to - w->from : w->to + HOURS_DAY - w->from;
    for (unsigned i = 0; i < length; i++)
      week[(day * HOURS_DAY + w->from + i) % HOURS_WEEK] = true;
  }
}

static void check(const char *const *texts, size_t count)
{
  hours_window_t windows[HOURS_WINDOWS_MAX];
  static bool week[HOURS_WEEK];
  memset(week, 0, sizeof week);
  for (size_t i = 0; i < count; i++) {
    if (hours_parse(texts[i], strlen(texts[i]), &windows[i]))
      fail_msg("refused: %s", texts[i]);
    tick_off(&windows[i], week);
  }
  for (unsigned m = 0; m < HOURS_WEEK; m++) {
    unsigned left = 0;
    while (left < HOURS_WEEK && week[(m + left) % HOURS_WEEK])
      left++;
    if (hours_cover(windows, count, m) != week[m] || hours_left(windows, count, m) != left)
      fail_msg("%s, minute %u: %u left, expected %u", texts[0], m, hours_left(windows, count, m), left);
  }
}

static void every_minute_of_the_week_agrees_with_the_reference(void **state)
{
  (void)state;
  static const char *const sets[][4] = {
      {"Mon-Fri 08:00-18:00"},
      {"Sat,Sun 10:00-12:00"},
      {"22:00-06:00"},
      {"Fri-Mon 23:59-00:01"},
      {"Sun 22:00-05:00", "Mon 05:00-06:00"},
      {"00:00-24:00"},
      {"Mon 00:00-24:00", "Tue 00:00-00:01", "Wed,Fri-Sat 23:00-24:00", "Thu 00:00-01:00"},
      {"Mon-Sun 00:00-12:00", "12:00-24:00"},
  };
  for (size_t i = 0; i < COUNT(sets); i++) {
    size_t n = 0;
    while (n < 4 && sets[i][n] != NULL)
      n++;
    check(sets[i], n);
  }
}

static void without_hours_it_is_always(void **state)
{
  (void)state;
  assert_true(hours_cover(NULL, 0, 17));
  assert_int_equal(hours_left(NULL, 0, 17), HOURS_WEEK);
}

static void hours_have_one_grammar(void **state)
{
  (void)state;
  static const char *const bad[] = {"",
                                    "08:00",
                                    "8:00-18:00",
                                    "08:00-18:60",
                                    "24:00-08:00",
                                    "08:00-24:01",
                                    "08:00-00:00",
                                    "08:00-08:00",
                                    "Mon08:00-18:00",
                                    "Mon 08:00 - 18:00",
                                    "Monday 08:00-18:00",
                                    "Mon, Tue 08:00-18:00",
                                    "Mon- 08:00-18:00",
                                    "Mo 08:00-18:00",
                                    " 08:00-18:00",
                                    "Mon  08:00-18:00",
                                    "-1:00-18:00",
                                    "08:00-18:00 Mon"};
  hours_window_t w;
  for (size_t i = 0; i < COUNT(bad); i++)
    if (hours_parse(bad[i], strlen(bad[i]), &w) == SMPL_OK)
      fail_msg("accepted: %s", bad[i]);
  assert_int_equal(hours_parse("fri-MON 08:00-24:00", 19, &w), SMPL_OK);
  assert_int_equal(w.days, 0x71);
  assert_int_equal(w.to, HOURS_DAY);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_minute_of_the_week_agrees_with_the_reference),
      cmocka_unit_test(without_hours_it_is_always),
      cmocka_unit_test(hours_have_one_grammar),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
