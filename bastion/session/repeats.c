/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/repeats.h"

#include <string.h>

enum { TOKEN = 1000 };

bool rate_take(rate_t *rate, uint64_t burst, uint64_t per_second, uint64_t now)
{
  return rate_take_many(rate, 1, burst, per_second, now);
}

bool rate_take_many(rate_t *rate, uint64_t tokens, uint64_t burst, uint64_t per_second, uint64_t now)
{
  uint64_t back = rate->at != 0 ? (now - rate->at) * per_second : 0;
  rate->at = now;
  rate->milli = rate->milli > back ? rate->milli - back : 0;
  if (rate->milli + tokens * TOKEN > burst * TOKEN)
    return false;
  rate->milli += tokens * TOKEN;
  return true;
}

static bool same_kind(const repeat_t *a, const repeat_t *b)
{
  return a->reason == b->reason && a->port == b->port && strcmp(a->event, b->event) == 0 &&
         strcmp(a->what, b->what) == 0;
}

static repeat_t *kind_of(repeats_t *r, const repeat_t *kind)
{
  for (size_t i = 0; i < r->count && i < REPEATS_KINDS; i++)
    if (same_kind(&r->kinds[i], kind))
      return &r->kinds[i];
  if (r->count > REPEATS_KINDS)
    return &r->kinds[REPEATS_KINDS];
  repeat_t *added = &r->kinds[r->count++];
  *added = r->count <= REPEATS_KINDS ? *kind : (repeat_t){.event = kind->event, .reason = REASON_NONE};
  return added;
}

bool repeats_allow(repeats_t *r, uint64_t now)
{
  return rate_take(&r->rate, REPEATS_BURST, REPEATS_PER_SECOND, now);
}

void repeats_count(repeats_t *r, const char *event, const char *what, uint16_t port, reason_t reason,
                   uint64_t now)
{
  repeat_t kind = {.event = event, .port = port, .reason = reason};
  size_t len = strnlen(what, sizeof kind.what - 1);
  memcpy(kind.what, what, len);
  if (r->count == 0)
    r->since = now;
  kind_of(r, &kind)->count++;
}

bool repeats_due(const repeats_t *r, uint64_t now)
{
  return r->count > 0 && now - r->since >= REPEATS_MS;
}

void repeats_flush(repeats_t *r, repeats_cb cb, void *ctx)
{
  for (size_t i = 0; i < r->count; i++)
    cb(ctx, &r->kinds[i]);
  r->count = 0;
}

/* Its budget is whole again and nothing of it waits to be told: like one that was never here. */
static bool is_idle(const repeats_source_t *s, uint64_t now)
{
  return !s->used ||
         (s->repeats.count == 0 && (now - s->repeats.rate.at) * REPEATS_PER_SECOND >= s->repeats.rate.milli);
}

/* What there is of a source, of its network, and of free places. */
typedef struct found {
  repeats_source_t *own, *network, *free;
  size_t of_network;
} found_t;

static found_t look(repeats_table_t *t, const ip_t *address, uint64_t now)
{
  ip_net_t net = source_network(address);
  found_t f = {NULL, NULL, NULL, 0};
  for (size_t i = 0; i < REPEATS_SOURCES; i++) {
    repeats_source_t *s = &t->sources[i];
    if (s->used && !s->network && source_same(&s->source, address)) {
      f.own = s;
    } else if (is_idle(s, now)) {
      f.free = f.free == NULL ? s : f.free;
    } else if (ip_net_contains(&net, &s->source)) {
      f.of_network += !s->network;
      f.network = s->network ? s : f.network;
    }
  }
  return f;
}

repeats_t *repeats_of(repeats_table_t *t, const ip_t *address, uint64_t now)
{
  found_t f = look(t, address, now);
  bool many = f.own == NULL && f.of_network >= REPEATS_OF_NETWORK;
  if (f.own != NULL)
    return &f.own->repeats;
  if (many && f.network != NULL)
    return &f.network->repeats;
  if (f.free == NULL)
    return &t->others.repeats;
  *f.free = (repeats_source_t){.used = true, .network = many, .source = source_of(address)};
  return &f.free->repeats;
}
