/* Reads take turns on the loop's thread: an account whose reads took long lately has them run one by one, each in a turn
 * of the loop of its own, so that the requests of others come in between. All other reads run at once. All on the loop's
 * thread. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "app/services/keys.h"

enum {
  TURNS_CHEAP_US =
      200, /* a read this short is not counted: however many come, connections take turns anyway */
  TURNS_FREE_US = 20000, /* of the loop's time that an account may have used and still be served at once */
  TURNS_SHARE = 4,       /* one in so many: the share of the loop's time that counts as paid back meanwhile */
  TURNS_QUEUED_MAX = 1024, /* reads waiting for their turn */
  TURNS_SLOTS = 256,       /* accounts are told apart by a hash; two that share a slot share their time */
};

typedef struct turns turns_t;

/* One read; embed it in memory that lives until run was called. */
typedef struct turn {
  void (*run)(struct turn *turn);
  struct turn *next; /* turns.c's own */
  uint32_t slot;     /* the same */
} turn_t;

int turns_new(uv_loop_t *loop, turns_t **out);
/* Not while reads wait. done is called when the handle is closed. */
void turns_close(turns_t *turns, void (*done)(void *ctx), void *ctx);

/* Runs it, perhaps before returning. SMPL_ELIMIT: too many wait, it will not run. */
int turns_take(turns_t *turns, turn_t *turn, const char *account);
