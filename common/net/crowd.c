/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/crowd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/error.h"

enum {
  BUCKETS_FIRST = 64, /* a power of two; doubled as nodes come */
  LEVELS_MAX = 4,
  SPARES_MAX = 16,
  SPARE_HEAP_MAX = 16, /* places in the heap of a node that is kept */
};

/* Prefixes in the 128-bit form, from the outside in; the last is the address. */
typedef struct levels {
  size_t count, source; /* the level at which strangers are told apart */
  uint8_t prefix[LEVELS_MAX];
} levels_t;

static const levels_t levels_flat = {1, 0, {128}};
static const levels_t levels_v4 = {2, 1, {120, 128}};
static const levels_t levels_v6 = {4, 2, {48, 56, 64, 128}};

/* A network or an address. It exists while it has members or networks within. */
struct crowd_node {
  crowd_node_t *chain;  /* of the bucket */
  crowd_node_t *parent; /* NULL: the crowd itself */
  ip_t base;
  uint8_t prefix;
  uint64_t weight;
  uint64_t born;       /* grows with each that is made: of equals the one that was made first comes first */
  size_t slot;         /* in the parent's heap */
  crowd_node_t **heap; /* what is within, the heaviest first: a binary heap */
  size_t count, cap;
  crowd_member_t *oldest, *newest; /* of an address */
};

struct crowd {
  bool flat;
  crowd_node_t all;
  uint64_t seed; /* so that nobody can choose addresses that share a bucket */
  crowd_node_t **buckets;
  size_t bucket_count, nodes;
  crowd_node_t *spare; /* kept for the next ones, with their heaps */
  size_t spares;
  uint64_t born;
};

crowd_t *crowd_new(void)
{
  crowd_t *c = calloc(1, sizeof *c);
  if (c != NULL)
    c->buckets = calloc(BUCKETS_FIRST, sizeof(crowd_node_t *));
  if (c == NULL || c->buckets == NULL || getrandom(&c->seed, sizeof c->seed, 0) != sizeof c->seed) {
    crowd_free(c);
    return NULL;
  }
  c->bucket_count = BUCKETS_FIRST;
  return c;
}

crowd_t *crowd_new_flat(void)
{
  crowd_t *c = crowd_new();
  if (c != NULL)
    c->flat = true;
  return c;
}

void crowd_free(crowd_t *c)
{
  if (c == NULL)
    return;
  while (c->spare != NULL) {
    crowd_node_t *next = c->spare->chain;
    free(c->spare->heap);
    free(c->spare);
    c->spare = next;
  }
  free(c->all.heap);
  free(c->buckets);
  free(c);
}

/* Networks by address */

static const levels_t *levels_of(const crowd_t *c, const ip_t *ip)
{
  if (c->flat)
    return &levels_flat;
  return ip_is_v4(ip) ? &levels_v4 : &levels_v6;
}

static ip_t base_of(const ip_t *ip, uint8_t prefix)
{
  ip_t base = {{0}};
  memcpy(base.b, ip->b, prefix / 8u); /* all levels end at a byte */
  return base;
}

ip_t crowd_network(const ip_t *ip)
{
  return base_of(ip, (ip_is_v4(ip) ? &levels_v4 : &levels_v6)->prefix[0]);
}

static crowd_node_t **bucket_of(const crowd_t *c, const ip_t *base, uint8_t prefix)
{
  uint64_t parts[2];
  memcpy(parts, base->b, sizeof parts);
  uint64_t hash = c->seed ^ prefix;
  for (size_t i = 0; i < 2; i++) {
    hash = (hash ^ parts[i]) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return &c->buckets[(hash ^ hash >> 32) & (c->bucket_count - 1)];
}

static crowd_node_t *find(const crowd_t *c, const ip_t *base, uint8_t prefix)
{
  crowd_node_t *n = *bucket_of(c, base, prefix);
  while (n != NULL && (n->prefix != prefix || !ip_equal(&n->base, base)))
    n = n->chain;
  return n;
}

/* Twice as many buckets once there are more nodes than those. Without memory, chains grow instead. */
static void spread(crowd_t *c)
{
  size_t before = c->bucket_count;
  crowd_node_t **old = c->buckets;
  if (c->nodes <= before)
    return;
  crowd_node_t **grown = calloc(before * 2, sizeof(crowd_node_t *));
  if (grown == NULL)
    return;
  c->buckets = grown;
  c->bucket_count = before * 2;
  for (size_t i = 0; i < before; i++) {
    for (crowd_node_t *n = old[i], *next; n != NULL; n = next) {
      crowd_node_t **bucket = bucket_of(c, &n->base, n->prefix);
      next = n->chain;
      n->chain = *bucket;
      *bucket = n;
    }
  }
  free(old);
}

/* Heaps */

static void put(crowd_node_t *parent, size_t slot, crowd_node_t *n)
{
  parent->heap[slot] = n;
  n->slot = slot;
}

/* Both within one parent. */
static bool before(const crowd_node_t *a, const crowd_node_t *b)
{
  return a->weight != b->weight ? a->weight > b->weight : a->born < b->born;
}

static void sift_up(crowd_node_t *n)
{
  crowd_node_t *p = n->parent;
  size_t slot = n->slot;
  for (; slot > 0 && before(n, p->heap[(slot - 1) / 2]); slot = (slot - 1) / 2)
    put(p, slot, p->heap[(slot - 1) / 2]);
  put(p, slot, n);
}

static void sift_down(crowd_node_t *n)
{
  crowd_node_t *p = n->parent;
  size_t slot = n->slot, child;
  for (; (child = 2 * slot + 1) < p->count; slot = child) {
    if (child + 1 < p->count && before(p->heap[child + 1], p->heap[child]))
      child++;
    if (!before(p->heap[child], n))
      break;
    put(p, slot, p->heap[child]);
  }
  put(p, slot, n);
}

static int heap_add(crowd_node_t *parent, crowd_node_t *n)
{
  if (parent->count == parent->cap) {
    size_t cap = parent->cap > 0 ? parent->cap * 2 : 2;
    crowd_node_t **grown = reallocarray(parent->heap, cap, sizeof(crowd_node_t *));
    if (grown == NULL)
      return SMPL_ENOMEM;
    parent->heap = grown;
    parent->cap = cap;
  }
  put(parent, parent->count++, n);
  sift_up(n);
  return SMPL_OK;
}

static void heap_remove(crowd_node_t *n)
{
  crowd_node_t *p = n->parent, *last = p->heap[--p->count];
  if (last == n)
    return;
  put(p, n->slot, last);
  sift_up(last);
  sift_down(last);
}

/* Who comes and goes with each request behind a balancer finds a node ready. */
static void discard(crowd_t *c, crowd_node_t *n)
{
  if (c->spares == SPARES_MAX || n->cap > SPARE_HEAP_MAX) {
    free(n->heap);
    free(n);
    return;
  }
  *n = (crowd_node_t){.chain = c->spare, .heap = n->heap, .cap = n->cap};
  c->spare = n;
  c->spares++;
}

static crowd_node_t *blank_node(crowd_t *c)
{
  crowd_node_t *n = c->spare;
  if (n == NULL)
    return calloc(1, sizeof *n);
  c->spare = n->chain;
  c->spares--;
  n->chain = NULL;
  return n;
}

/* Takes the node and what is around it away as far as nothing is in them. */
static void prune(crowd_t *c, crowd_node_t *n)
{
  while (n != &c->all && n->oldest == NULL && n->count == 0) {
    crowd_node_t *parent = n->parent;
    crowd_node_t **at = bucket_of(c, &n->base, n->prefix);
    heap_remove(n);
    while (*at != n)
      at = &(*at)->chain;
    *at = n->chain;
    c->nodes--;
    discard(c, n);
    n = parent;
  }
}

static crowd_node_t *add_node(crowd_t *c, crowd_node_t *parent, const ip_t *base, uint8_t prefix)
{
  crowd_node_t *n = blank_node(c);
  if (n == NULL)
    return NULL;
  n->parent = parent;
  n->base = *base;
  n->prefix = prefix;
  n->born = ++c->born;
  if (heap_add(parent, n)) {
    discard(c, n);
    return NULL;
  }
  c->nodes++;
  spread(c);
  crowd_node_t **bucket = bucket_of(c, base, prefix);
  n->chain = *bucket;
  *bucket = n;
  return n;
}

/* The address's node, made with the networks around it unless it is there. NULL when out of memory. */
static crowd_node_t *reach(crowd_t *c, const ip_t *ip)
{
  crowd_node_t *n = find(c, ip, 128), *parent = &c->all;
  const levels_t *levels = levels_of(c, ip);
  for (size_t i = 0; n == NULL || n->prefix != 128; i++) {
    ip_t base = base_of(ip, levels->prefix[i]);
    n = find(c, &base, levels->prefix[i]);
    if (n == NULL)
      n = add_node(c, parent, &base, levels->prefix[i]);
    if (n == NULL) {
      prune(c, parent);
      return NULL;
    }
    parent = n;
  }
  return n;
}

/* Members */

static void weigh(crowd_t *c, crowd_node_t *n, uint64_t more, uint64_t less)
{
  for (; n != &c->all; n = n->parent) {
    n->weight += more - less;
    if (more > 0)
      sift_up(n);
    else
      sift_down(n);
  }
  c->all.weight += more - less;
}

static void append(crowd_node_t *n, crowd_member_t *m)
{
  m->older = n->newest;
  m->newer = NULL;
  *(n->newest != NULL ? &n->newest->newer : &n->oldest) = m;
  n->newest = m;
}

static void unlink_member(crowd_node_t *n, crowd_member_t *m)
{
  *(m->older != NULL ? &m->older->newer : &n->oldest) = m->newer;
  *(m->newer != NULL ? &m->newer->older : &n->newest) = m->older;
}

int crowd_add(crowd_t *c, crowd_member_t *m, const ip_t *ip, uint64_t weight)
{
  if (m->at == NULL) {
    crowd_node_t *n = reach(c, ip);
    if (n == NULL)
      return SMPL_ENOMEM;
    *m = (crowd_member_t){.at = n};
    append(n, m);
  }
  m->weight += weight;
  weigh(c, m->at, weight, 0);
  return SMPL_OK;
}

void crowd_less(crowd_t *c, crowd_member_t *m, uint64_t weight)
{
  if (m->at == NULL)
    return;
  m->weight -= weight;
  weigh(c, m->at, 0, weight);
}

void crowd_leave(crowd_t *c, crowd_member_t *m)
{
  crowd_node_t *n = m->at;
  if (n == NULL)
    return;
  crowd_less(c, m, m->weight);
  unlink_member(n, m);
  *m = (crowd_member_t){.at = NULL};
  prune(c, n);
}

void crowd_renew(crowd_member_t *m)
{
  crowd_node_t *n = m->at;
  if (n->newest == m)
    return;
  unlink_member(n, m);
  append(n, m);
}

/* Asking */

uint64_t crowd_total(const crowd_t *c)
{
  return c->all.weight;
}

static const crowd_node_t *source_of(const crowd_t *c, const ip_t *ip)
{
  const levels_t *levels = levels_of(c, ip);
  uint8_t prefix = levels->prefix[levels->source];
  ip_t base = base_of(ip, prefix);
  return find(c, &base, prefix);
}

uint64_t crowd_of_source(const crowd_t *c, const ip_t *ip)
{
  const crowd_node_t *n = source_of(c, ip);
  return n != NULL ? n->weight : 0;
}

uint64_t crowd_of_network(const crowd_member_t *m)
{
  const crowd_node_t *n = m->at;
  while (n->parent->parent != NULL)
    n = n->parent;
  return n->weight;
}

static crowd_member_t *heaviest_in(const crowd_node_t *n)
{
  while (n != NULL && n->count > 0)
    n = n->heap[0];
  return n != NULL ? n->oldest : NULL;
}

crowd_member_t *crowd_heaviest(const crowd_t *c)
{
  return heaviest_in(&c->all);
}

crowd_member_t *crowd_newest(const crowd_member_t *m)
{
  return m->at->newest;
}

crowd_member_t *crowd_heaviest_of_source(const crowd_t *c, const ip_t *ip)
{
  return heaviest_in(source_of(c, ip));
}

/* From the outermost network to the address, and how many they are. */
static size_t path_of(const crowd_node_t *n, const crowd_node_t *path[LEVELS_MAX])
{
  size_t count = 0;
  for (const crowd_node_t *up = n; up->parent != NULL; up = up->parent)
    count++;
  for (size_t i = count; i > 0; n = n->parent)
    path[--i] = n;
  return count;
}

int crowd_compare(const crowd_member_t *a, const crowd_member_t *b)
{
  const crowd_node_t *in_a[LEVELS_MAX], *in_b[LEVELS_MAX];
  if (a->at == b->at)
    return 0;
  path_of(a->at, in_a);
  path_of(b->at, in_b);
  size_t i = 0;
  /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): the last of them are not the same */
  while (in_a[i] == in_b[i])
    i++;
  return (in_a[i]->weight > in_b[i]->weight) - (in_a[i]->weight < in_b[i]->weight);
}

int crowd_add_within(crowd_t *c, crowd_member_t *m, const ip_t *ip, uint64_t max, crowd_member_t **displaced)
{
  *displaced = NULL;
  if (crowd_add(c, m, ip, 1))
    return SMPL_ENOMEM;
  if (crowd_total(c) <= max)
    return SMPL_OK;
  crowd_member_t *most = crowd_newest(crowd_heaviest(c));
  if (crowd_compare(most, m) <= 0) {
    crowd_leave(c, m);
    return SMPL_ELIMIT;
  }
  crowd_leave(c, most);
  *displaced = most;
  return SMPL_OK;
}
