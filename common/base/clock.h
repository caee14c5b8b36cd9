/* SPDX-License-Identifier: Apache-2.0 */
/* Time: monotonic for waits and durations, wall clock for logs and records only. */
#pragma once

#include <stdint.h>

enum { CLOCK_ISO_MAX = sizeof "2026-11-23T03:25:59.123Z" };

/* Milliseconds / microseconds since an arbitrary point; never goes back. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);

/* Milliseconds since 1970, UTC. */
uint64_t clock_wall_ms(void);

/* RFC 3339 in UTC with milliseconds. buf holds CLOCK_ISO_MAX bytes. Returns buf. */
char *clock_wall_iso(char *buf);
char *clock_format_iso(char *buf, uint64_t wall_ms);
