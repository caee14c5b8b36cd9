/* SPDX-License-Identifier: Apache-2.0 */
/* The audit file for people: past sessions and failed logins, read straight from the file. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "common/base/diag.h"

typedef struct history_filter {
  const char *user;   /* NULL: all */
  const char *since;  /* of the session's start: ISO time in UTC or a prefix of one; NULL: all */
  const char *until;  /* the same; a prefix means the last moment that begins so */
  const char *target; /* sessions that asked for or reached it, NAME or NAME:PORT; NULL: all */
} history_filter_t;

/* "2h" (ago), "2026-11-23" or "2026-11-23T03:25:59Z" into out of cap bytes. SMPL_EINVAL. */
int history_since(const char *text, uint64_t now_wall_ms, char *out, size_t cap);

/* An array, oldest first: objects with "started", "user", "source", "session" (null for a failed login),
 * "key", "targets", "channels", "refused", "bytes_up", "bytes_down", "duration_ms", "ended", "reason" (null
 * while it lives). */
/* Of the audit at path and of the files that it was rotated into (rotated.h); *compressed is how many of
 * those are not read. */
int history_read(const char *path, const history_filter_t *filter, size_t *compressed, json_t **out,
                 diag_t *diag);
