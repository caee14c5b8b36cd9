/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/shares.h"

#include <stdlib.h>

#include "common/base/clock.h"

typedef struct slot {
  uint64_t owed_us, at_us; /* as of then; paid back since */
} slot_t;

struct shares {
  slot_t slots[SHARES_SLOTS];
};

static slot_t *slot_of(shares_t *s, const char *account)
{
  uint32_t h = 2166136261u; /* FNV-1a: accounts' ids are random, and chosen by us */
  for (; *account != '\0'; account++)
    h = (h ^ (uint8_t)*account) * 16777619u;
  return &s->slots[h % SHARES_SLOTS];
}

static uint64_t owed(slot_t *slot)
{
  uint64_t now = clock_mono_us(), paid = (now - slot->at_us) / SHARES_PART;
  slot->owed_us = slot->owed_us > paid ? slot->owed_us - paid : 0;
  slot->at_us = now;
  return slot->owed_us;
}

shares_t *shares_new(void)
{
  return calloc(1, sizeof(shares_t));
}

void shares_free(shares_t *s)
{
  free(s);
}

bool shares_used_up(shares_t *s, const char *account)
{
  return owed(slot_of(s, account)) > SHARES_FREE_US;
}

void shares_count(shares_t *s, const char *account, uint64_t us)
{
  slot_t *slot = slot_of(s, account);
  owed(slot);
  slot->owed_us += us > SHARES_CHEAP_US ? us : 0;
}
