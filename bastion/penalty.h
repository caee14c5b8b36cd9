/* What a source has to wait for what it did before it signed in, as sshd's PerSourcePenalties have it: each deed adds its
 * time, and once PENALTY_MIN_MS have come together new connections of that source are refused until all of it is over. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ip.h"

enum {
  PENALTY_SOURCES_MAX = 65536, /* remembered; above it the one that is free soonest is forgotten */
  PENALTY_MIN_MS = 15000,      /* below that nothing is refused: a mistyped name costs nothing */
  PENALTY_MAX_MS = 600000,     /* that come together at most */
  PENALTY_CRASH_MS = 90000,    /* the worker died or broke its contract: somebody tries to take it over */
  PENALTY_AUTH_MS = 5000,      /* a login that failed */
  PENALTY_GRACE_MS = 10000,    /* no login within the grace time */
  PENALTY_NOAUTH_MS = 1000,    /* went without trying one */
};

typedef struct penalty penalty_t;

/* NULL when out of memory. */
penalty_t *penalty_new(void);
void penalty_free(penalty_t *p);

/* now: monotonic ms. */
void penalty_add(penalty_t *p, const ip_t *address, uint64_t ms, uint64_t now);
/* Milliseconds that new connections from there are refused for; 0: they are not. */
uint64_t penalty_left(penalty_t *p, const ip_t *address, uint64_t now);
/* Sources that have a penalty, refused or not. */
size_t penalty_count(const penalty_t *p);
