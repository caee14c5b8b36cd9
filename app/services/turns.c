#include "app/services/turns.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/error.h"

typedef struct slot {
  uint64_t owed_us, at_us; /* as of then; paid back since */
} slot_t;

struct turns {
  uv_idle_t idle; /* active while reads wait */
  turn_t *first, **last;
  size_t count;
  slot_t slots[TURNS_SLOTS];
  void (*closed)(void *ctx);
  void *closed_ctx;
};

static uint32_t slot_of(const char *account)
{
  uint32_t h = 2166136261u; /* FNV-1a: accounts' ids are random, and chosen by us */
  for (; *account != '\0'; account++)
    h = (h ^ (uint8_t)*account) * 16777619u;
  return h % TURNS_SLOTS;
}

static uint64_t owed(slot_t *slot)
{
  uint64_t now = clock_mono_us(), paid = (now - slot->at_us) / TURNS_SHARE;
  slot->owed_us = slot->owed_us > paid ? slot->owed_us - paid : 0;
  slot->at_us = now;
  return slot->owed_us;
}

static void run(turns_t *t, turn_t *turn)
{
  slot_t *slot = &t->slots[turn->slot]; /* the turn is gone once it has run */
  uint64_t started = clock_mono_us();
  turn->run(turn);
  uint64_t took = clock_mono_us() - started;
  owed(slot);
  slot->owed_us += took > TURNS_CHEAP_US ? took : 0;
}

/* One a turn of the loop. */
static void on_idle(uv_idle_t *idle)
{
  turns_t *t = idle->data;
  turn_t *turn = t->first;
  t->first = turn->next;
  if (t->first == NULL) {
    t->last = &t->first;
    uv_idle_stop(idle);
  }
  t->count--;
  run(t, turn);
}

int turns_take(turns_t *t, turn_t *turn, const char *account)
{
  turn->slot = slot_of(account);
  if (owed(&t->slots[turn->slot]) <= TURNS_FREE_US) {
    run(t, turn);
    return SMPL_OK;
  }
  if (t->count == TURNS_QUEUED_MAX)
    return SMPL_ELIMIT;
  turn->next = NULL;
  *t->last = turn;
  t->last = &turn->next;
  t->count++;
  uv_idle_start(&t->idle, on_idle);
  return SMPL_OK;
}

int turns_new(uv_loop_t *loop, turns_t **out)
{
  turns_t *t = calloc(1, sizeof *t);
  *out = t;
  if (t == NULL)
    return SMPL_ENOMEM;
  t->last = &t->first;
  t->idle.data = t;
  uv_idle_init(loop, &t->idle);
  return SMPL_OK;
}

static void on_closed(uv_handle_t *handle)
{
  turns_t *t = handle->data;
  void (*closed)(void *) = t->closed;
  void *ctx = t->closed_ctx;
  free(t);
  closed(ctx);
}

void turns_close(turns_t *t, void (*done)(void *ctx), void *ctx)
{
  t->closed = done;
  t->closed_ctx = ctx;
  uv_close((uv_handle_t *)&t->idle, on_closed);
}
