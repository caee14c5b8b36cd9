#include "bastion/penalty.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/source.h"

enum { BUCKETS = 8192 };

typedef struct entry {
  struct entry *next;
  ip_t source;
  uint64_t until;
  bool refused; /* reached PENALTY_MIN_MS since it was last free */
} entry_t;

struct penalty {
  entry_t *buckets[BUCKETS];
  size_t count;
  uint64_t key; /* so that nobody chooses the bucket */
};

penalty_t *penalty_new(void)
{
  penalty_t *p = calloc(1, sizeof *p);
  if (p != NULL)
    RAND_bytes((unsigned char *)&p->key, sizeof p->key);
  return p;
}

void penalty_free(penalty_t *p)
{
  for (size_t i = 0; p != NULL && i < BUCKETS; i++)
    for (entry_t *e = p->buckets[i], *next; e != NULL; e = next) {
      next = e->next;
      free(e);
    }
  free(p);
}

static size_t bucket_of(const penalty_t *p, const ip_t *source)
{
  uint64_t h = p->key;
  for (size_t i = 0; i < sizeof source->b; i++)
    h = (h ^ source->b[i]) * 0x100000001b3u;
  return (size_t)(h ^ h >> 32) % BUCKETS;
}

static void drop(penalty_t *p, entry_t **at)
{
  entry_t *e = *at;
  *at = e->next;
  free(e);
  p->count--;
}

/* Where the source's entry is linked, or would be. Those that are over go on the way. */
static entry_t **find(penalty_t *p, const ip_t *source, uint64_t now)
{
  entry_t **at = &p->buckets[bucket_of(p, source)];
  while (*at != NULL) {
    if (now >= (*at)->until)
      drop(p, at);
    else if (ip_equal(&(*at)->source, source))
      return at;
    else
      at = &(*at)->next;
  }
  return at;
}

static void drop_expired(penalty_t *p, uint64_t now)
{
  for (size_t i = 0; i < BUCKETS; i++)
    for (entry_t **at = &p->buckets[i]; *at != NULL;) {
      if (now >= (*at)->until)
        drop(p, at);
      else
        at = &(*at)->next;
    }
}

/* Makes room: what is over, else the one that would be over first. */
static void make_room(penalty_t *p, uint64_t now)
{
  drop_expired(p, now);
  if (p->count < PENALTY_SOURCES_MAX)
    return;
  entry_t **soonest = NULL;
  for (size_t i = 0; i < BUCKETS; i++)
    for (entry_t **at = &p->buckets[i]; *at != NULL; at = &(*at)->next)
      if (soonest == NULL || (*at)->until < (*soonest)->until)
        soonest = at;
  if (soonest != NULL)
    drop(p, soonest);
}

void penalty_add(penalty_t *p, const ip_t *address, uint64_t ms, uint64_t now)
{
  ip_t source = source_of(address);
  entry_t **at = find(p, &source, now);
  if (*at == NULL) {
    if (p->count >= PENALTY_SOURCES_MAX) {
      make_room(p, now);
      at = find(p, &source, now);
    }
    entry_t *e = calloc(1, sizeof *e);
    if (e == NULL)
      return;
    e->source = source;
    e->until = now;
    *at = e;
    p->count++;
  }
  entry_t *e = *at;
  e->until += ms;
  if (e->until - now > PENALTY_MAX_MS)
    e->until = now + PENALTY_MAX_MS;
  e->refused = e->refused || e->until - now >= PENALTY_MIN_MS;
}

uint64_t penalty_left(penalty_t *p, const ip_t *address, uint64_t now)
{
  ip_t source = source_of(address);
  const entry_t *e = *find(p, &source, now);
  return e != NULL && e->refused ? e->until - now : 0;
}

size_t penalty_count(const penalty_t *p)
{
  return p->count;
}
