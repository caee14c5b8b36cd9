/* SPDX-License-Identifier: Apache-2.0 */
/* One thing that is wrong with a request: what pure checks and writing jobs hand back instead of replying
 * themselves. */
#pragma once

#include <stddef.h>

#include "app/limits.h"

typedef struct problem {
  int status;                        /* 0: nothing is wrong */
  const char *title;                 /* a literal */
  char pointer[PROBLEM_POINTER_MAX]; /* "" for none; RFC 6901 */
  char detail[PROBLEM_DETAIL_MAX];
} problem_t;

/* Where in a body a check stands, outermost first, on the callers' stacks: members or array indices. */
typedef struct place {
  const struct place *parent; /* NULL for the outermost */
  const char *member;         /* NULL: index counts */
  size_t index;
} place_t;

#define PLACE_MEMBER(parent, name) (&(const place_t){(parent), (name), 0})
#define PLACE_INDEX(parent, i)     (&(const place_t){(parent), NULL, (i)})
/* "/data/attributes" */
extern const place_t place_data, place_attributes;

/* Fills *problem and returns SMPL_EINVAL. place may be NULL. */
int problem_at(problem_t *problem, int status, const place_t *place, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* 400 at the place. */
#define problem_invalid(problem, place, ...) problem_at(problem, 400, place, __VA_ARGS__)
