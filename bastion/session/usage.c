/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/usage.h"

#include <stdlib.h>
#include <string.h>

#include "bastion/session/repeats.h"

enum { BUCKETS = 1024, NOBODY = -1 };

typedef struct user {
  char name[USAGE_NAME_MAX];
  int next; /* in its bucket, or in the list of free ones */
  bool used;
  rate_t rate;
  uint64_t whole_at;        /* when its rate is whole again */
  uint64_t window;          /* number of the window that `written` is of */
  uint64_t written, before; /* bytes in this window and in the one before */
  uint64_t lately;          /* bytes since somebody had to give way last */
  bool out;
} user_t;

struct usage {
  int buckets[BUCKETS];
  user_t *users; /* grown by need */
  size_t count, cap;
  int free_one;
  bool low;        /* the reserve is in use */
  uint64_t judged; /* then: bytes that were free when it was judged last who gives way, or more since */
};

usage_t *usage_new(void)
{
  usage_t *u = calloc(1, sizeof *u);
  for (size_t i = 0; u != NULL && i < BUCKETS; i++)
    u->buckets[i] = NOBODY;
  if (u != NULL)
    u->free_one = NOBODY;
  return u;
}

void usage_free(usage_t *u)
{
  if (u == NULL)
    return;
  free(u->users);
  free(u);
}

/* ---- by name ---- */

static size_t bucket_of(const char *name)
{
  uint32_t h = 2166136261u;
  for (; *name != '\0'; name++)
    h = (h ^ (unsigned char)*name) * 16777619u;
  return h % BUCKETS;
}

static user_t *find(usage_t *u, const char *name)
{
  for (int i = u->buckets[bucket_of(name)]; i != NOBODY; i = u->users[i].next)
    if (strcmp(u->users[i].name, name) == 0)
      return &u->users[i];
  return NULL;
}

static void roll(user_t *user, uint64_t now)
{
  uint64_t window = now / USAGE_WINDOW_MS;
  if (window == user->window)
    return;
  user->before = window == user->window + 1 ? user->written : 0;
  user->written = 0;
  user->window = window;
}

/* Like one that was never here. */
static bool is_idle(user_t *user, uint64_t now)
{
  roll(user, now);
  return !user->out && user->written + user->before == 0 && now >= user->whole_at;
}

static void forget(usage_t *u, int index)
{
  user_t *user = &u->users[index];
  int *at = &u->buckets[bucket_of(user->name)];
  while (*at != index)
    at = &u->users[*at].next;
  *at = user->next;
  user->used = false;
  user->next = u->free_one;
  u->free_one = index;
}

static void forget_idle(usage_t *u, uint64_t now)
{
  for (size_t i = 0; i < u->count; i++)
    if (u->users[i].used && is_idle(&u->users[i], now))
      forget(u, (int)i);
}

static int grow(usage_t *u)
{
  size_t cap = u->cap == 0 ? 64 : u->cap * 2;
  user_t *grown = u->cap < USAGE_USERS_MAX ? reallocarray(u->users, cap, sizeof *grown) : NULL;
  if (grown == NULL)
    return NOBODY;
  u->users = grown;
  u->cap = cap;
  return (int)u->count++;
}

static int take_place(usage_t *u, uint64_t now)
{
  if (u->free_one == NOBODY && u->count == u->cap)
    forget_idle(u, now);
  int index = u->free_one;
  if (index != NOBODY)
    u->free_one = u->users[index].next;
  else if (u->count < u->cap)
    index = (int)u->count++;
  else
    index = grow(u);
  return index;
}

/* NULL where there is no room: there are not as many sessions as places. */
static user_t *user_of(usage_t *u, const char *name, uint64_t now)
{
  user_t *user = find(u, name);
  if (user != NULL || strlen(name) >= USAGE_NAME_MAX)
    return user;
  int index = take_place(u, now);
  if (index == NOBODY)
    return NULL;
  size_t bucket = bucket_of(name);
  user = &u->users[index];
  *user = (user_t){.used = true, .next = u->buckets[bucket], .window = now / USAGE_WINDOW_MS};
  memcpy(user->name, name, strlen(name) + 1);
  u->buckets[bucket] = index;
  return user;
}

/* ---- what is taken ---- */

bool usage_take(usage_t *u, const char *name, uint64_t per_second, uint64_t burst, uint64_t now)
{
  user_t *user = per_second > 0 ? user_of(u, name, now) : NULL;
  if (user == NULL)
    return true;
  bool fine = rate_take(&user->rate, burst, per_second, now);
  user->whole_at = now + user->rate.milli / per_second + 1;
  return fine;
}

void usage_wrote(usage_t *u, const char *name, uint64_t bytes, uint64_t now)
{
  user_t *user = user_of(u, name, now);
  if (user == NULL)
    return;
  roll(user, now);
  user->written += bytes;
  user->lately += bytes;
}

/* ---- the disk ---- */

/* The first time who wrote most of this hour and the one before, then who wrote most since the last time. */
static user_t *greediest(usage_t *u, bool first, uint64_t least, uint64_t now)
{
  user_t *most = NULL;
  uint64_t bytes = 0;
  for (size_t i = 0; i < u->count; i++) {
    user_t *user = &u->users[i];
    if (!user->used)
      continue;
    roll(user, now);
    uint64_t wrote = first ? user->written + user->before : user->lately;
    user->lately = 0;
    if (user->out || wrote < least || wrote <= bytes)
      continue;
    bytes = wrote;
    most = user;
  }
  return most;
}

static void let_back(usage_t *u)
{
  u->low = false;
  for (size_t i = 0; i < u->count; i++)
    u->users[i].out = false;
}

const char *usage_space(usage_t *u, uint64_t free_bytes, uint64_t reserve, uint64_t now)
{
  if (free_bytes >= reserve) {
    if (u->low && free_bytes - reserve >= reserve / USAGE_RELIEF_DIVISOR)
      let_back(u);
    return NULL;
  }
  if (u->low && (u->judged == 0 || free_bytes > u->judged / 2)) {
    if (free_bytes > u->judged)
      u->judged = free_bytes;
    return NULL;
  }
  bool first = !u->low;
  uint64_t used = first ? reserve : u->judged - free_bytes;
  u->low = true;
  u->judged = free_bytes;
  user_t *most = greediest(u, first, used / USAGE_SHARE_DIVISOR, now);
  if (most == NULL)
    return NULL;
  most->out = true;
  return most->name;
}

bool usage_is_low(const usage_t *u)
{
  return u->low;
}

bool usage_is_out(usage_t *u, const char *name)
{
  const user_t *user = u->low ? find(u, name) : NULL;
  return user != NULL && user->out;
}

const char *usage_next_out(const usage_t *u, size_t *at)
{
  for (; *at < u->count; ++*at)
    if (u->users[*at].used && u->users[*at].out)
      return u->users[(*at)++].name;
  return NULL;
}
