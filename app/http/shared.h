/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of one answer, for as many as are using them: the connection that sends them, and whoever keeps
 * them for the next request. Never changed once they are there. Loop's thread only. */
#pragma once

#include <stddef.h>
#include <stdlib.h>

typedef struct shared {
  char *bytes; /* malloc'ed, and freed with the last user */
  size_t len;
  size_t users;
} shared_t;

/* With one user. bytes are taken over; NULL (and bytes freed) when out of memory. */
static inline shared_t *shared_new(char *bytes, size_t len)
{
  shared_t *s = malloc(sizeof *s);
  if (s != NULL)
    *s = (shared_t){bytes, len, 1};
  else
    free(bytes);
  return s;
}

/* One user more. */
static inline shared_t *shared_take(shared_t *s)
{
  s->users++;
  return s;
}

/* One user less. NULL allowed. */
static inline void shared_drop(shared_t *s)
{
  if (s == NULL || --s->users > 0)
    return;
  free(s->bytes);
  free(s);
}
