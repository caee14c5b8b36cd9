/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/hours.h"

#include <string.h>
#include <time.h>

#include "common/base/error.h"
#include "common/base/text.h"

enum { ALL_DAYS = 0x7f };

static const char *const day_names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

static int parse_day(const char *text, size_t len, unsigned *day)
{
  for (unsigned d = 0; len == 3 && d < 7; d++)
    if (text_lower(text[0]) == day_names[d][0] && text_lower(text[1]) == day_names[d][1] &&
        text_lower(text[2]) == day_names[d][2]) {
      *day = d;
      return SMPL_OK;
    }
  return SMPL_EINVAL;
}

/* "Mon" or "Mon-Fri" */
static int parse_range(const char *text, size_t len, uint8_t *days)
{
  const char *dash = memchr(text, '-', len);
  size_t first_len = dash != NULL ? (size_t)(dash - text) : len;
  unsigned first, last;
  if (parse_day(text, first_len, &first))
    return SMPL_EINVAL;
  last = first;
  if (dash != NULL && parse_day(dash + 1, len - first_len - 1, &last))
    return SMPL_EINVAL;
  for (unsigned d = first;; d = (d + 1) % 7) {
    *days = (uint8_t)(*days | 1u << d);
    if (d == last)
      return SMPL_OK;
  }
}

static int parse_days(const char *text, size_t len, uint8_t *days)
{
  *days = 0;
  for (size_t at = 0; at <= len;) {
    const char *comma = memchr(text + at, ',', len - at);
    size_t stop = comma != NULL ? (size_t)(comma - text) : len;
    if (parse_range(text + at, stop - at, days))
      return SMPL_EINVAL;
    at = stop + 1;
  }
  return SMPL_OK;
}

static int parse_time(const char *text, uint16_t *minute)
{
  uint64_t h, m;
  if (text[2] != ':' || text_parse_u64(text, 2, 24, &h) || text_parse_u64(text + 3, 2, 59, &m) ||
      h * 60 + m > HOURS_DAY)
    return SMPL_EINVAL;
  *minute = (uint16_t)(h * 60 + m);
  return SMPL_OK;
}

int hours_parse(const char *text, size_t len, hours_window_t *out)
{
  enum { TIMES = sizeof "08:00-18:00" - 1 };
  if (len < TIMES)
    return SMPL_EINVAL;
  const char *times = text + len - TIMES;
  *out = (hours_window_t){.days = ALL_DAYS};
  if (len > TIMES && (times[-1] != ' ' || parse_days(text, len - TIMES - 1, &out->days)))
    return SMPL_EINVAL;
  if (times[5] != '-' || parse_time(times, &out->from) || parse_time(times + 6, &out->to) ||
      out->from == HOURS_DAY || out->to == 0 || out->from == out->to)
    return SMPL_EINVAL;
  return SMPL_OK;
}

static bool on_day(const hours_window_t *w, unsigned day)
{
  return (w->days >> day & 1) != 0;
}

/* Minutes that this window goes on from a minute of the week; 0 if it does not cover it. */
static unsigned window_left(const hours_window_t *w, unsigned minute)
{
  unsigned day = minute / HOURS_DAY, at = minute % HOURS_DAY;
  if (w->from < w->to)
    return on_day(w, day) && at >= w->from && at < w->to ? w->to - at : 0;
  if (on_day(w, day) && at >= w->from)
    return HOURS_DAY - at + w->to;
  return on_day(w, (day + 6) % 7) && at < w->to ? w->to - at : 0;
}

/* The longest of those that cover the minute. */
static unsigned longest(const hours_window_t *windows, size_t count, unsigned minute)
{
  unsigned most = 0;
  for (size_t i = 0; i < count; i++) {
    unsigned left = window_left(&windows[i], minute);
    most = left > most ? left : most;
  }
  return most;
}

bool hours_cover(const hours_window_t *windows, size_t count, unsigned minute)
{
  return count == 0 || longest(windows, count, minute) > 0;
}

unsigned hours_left(const hours_window_t *windows, size_t count, unsigned minute)
{
  unsigned sum = 0;
  while (count > 0 && sum < HOURS_WEEK) {
    unsigned left = longest(windows, count, (minute + sum) % HOURS_WEEK);
    if (left == 0)
      return sum;
    sum += left;
  }
  return HOURS_WEEK;
}

unsigned hours_now(unsigned *ms)
{
  struct timespec now;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &now);
  if (localtime_r(&now.tv_sec, &tm) == NULL)
    gmtime_r(&now.tv_sec, &tm);
  if (ms != NULL)
    *ms = (unsigned)(tm.tm_sec % 60) * 1000 + (unsigned)(now.tv_nsec / 1000000);
  return (unsigned)((tm.tm_wday + 6) % 7 * HOURS_DAY + tm.tm_hour * 60 + tm.tm_min);
}
