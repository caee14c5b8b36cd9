/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/known.h"

#include <stdlib.h>
#include <string.h>

#include "bastion/contract/msg.h"
#include "bastion/session/source.h"

typedef struct entry {
  ip_t source;
  uint64_t until;
  char user[MSG_USER_MAX];
} entry_t;

struct known {
  size_t count;
  entry_t entries[KNOWN_MAX]; /* memory is touched as far as it is used */
};

known_t *known_new(void)
{
  return calloc(1, sizeof(known_t));
}

void known_free(known_t *k)
{
  free(k);
}

/* The user's entry for this source, else one to be filled for it. */
static entry_t *entry_for(known_t *k, const ip_t *source, const char *user)
{
  entry_t *soonest = NULL, *own_soonest = NULL;
  size_t own = 0;
  for (size_t i = 0; i < k->count; i++) {
    entry_t *e = &k->entries[i];
    bool is_own = strncmp(e->user, user, sizeof e->user) == 0;
    if (is_own && ip_equal(&e->source, source))
      return e;
    own += is_own;
    if (is_own && (own_soonest == NULL || e->until < own_soonest->until))
      own_soonest = e;
    if (soonest == NULL || e->until < soonest->until)
      soonest = e;
  }
  if (own >= KNOWN_OF_USER_MAX)
    return own_soonest;
  return k->count < KNOWN_MAX ? &k->entries[k->count++] : soonest;
}

void known_mark(known_t *k, const ip_t *address, const char *user, uint64_t now)
{
  ip_t source = source_of(address);
  entry_t *e = entry_for(k, &source, user);
  *e = (entry_t){.source = source, .until = now + KNOWN_MS};
  memcpy(e->user, user, strnlen(user, sizeof e->user - 1));
}

bool known_is(const known_t *k, const ip_t *address, uint64_t now)
{
  ip_t source = source_of(address);
  for (size_t i = 0; i < k->count; i++)
    if (now < k->entries[i].until && ip_equal(&k->entries[i].source, &source))
      return true;
  return false;
}
