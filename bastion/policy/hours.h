/* SPDX-License-Identifier: Apache-2.0 */
/* The hours of the week in which a grant is in force: "Mon-Fri 08:00-18:00". Pure, but for hours_now. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"

enum {
  HOURS_DAY = 24 * 60, /* minutes */
  HOURS_WEEK = 7 * HOURS_DAY,
};

/* Minutes of a day, on the days of the mask (bit 0: Monday). A window whose end is not after its start goes
 * on into the next day; it belongs to the day it starts on. */
typedef struct hours_window {
  uint8_t days;
  uint16_t from; /* 0..1439 */
  uint16_t to;   /* 1..1440 */
} hours_window_t;

/* "[DAYS ]HH:MM-HH:MM", DAYS such as Mon-Fri or Sat,Sun (a range may go over Sunday); without them every day.
 * 24:00 may stand as end. SMPL_EINVAL. */
int hours_parse(const char *text, size_t len, hours_window_t *out);

/* minute: of the week, 0 is Monday 00:00. Without any window always. */
bool hours_cover(const hours_window_t *windows, size_t count, unsigned minute);

/* Minutes from this one to the first that is not covered; HOURS_WEEK if there is none. 0 if it is not covered
 * itself. */
unsigned hours_left(const hours_window_t *windows, size_t count, unsigned minute);

/* The minute of the week it is now on the machine's clock, in its time zone; and how many milliseconds of it
 * are over (may be NULL). */
unsigned hours_now(unsigned *ms);
