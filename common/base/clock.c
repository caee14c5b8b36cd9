/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_us(clockid_t id)
{
  struct timespec ts;
  clock_gettime(id, &ts);
  return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_mono_ms(void)
{
  return read_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_mono_us(void)
{
  return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
  return read_us(CLOCK_REALTIME) / 1000;
}

char *clock_format_iso(char *buf, uint64_t wall_ms)
{
  time_t secs = (time_t)(wall_ms / 1000);
  struct tm tm;
  gmtime_r(&secs, &tm);
  unsigned year = (unsigned)(tm.tm_year + 1900) % 10000;
  snprintf(buf, CLOCK_ISO_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year, (unsigned)(tm.tm_mon + 1) % 100,
           (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
           (unsigned)tm.tm_sec % 100, (unsigned)(wall_ms % 1000));
  return buf;
}

char *clock_wall_iso(char *buf)
{
  return clock_format_iso(buf, clock_wall_ms());
}
