/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/view/networks.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/view/view_choice.h"

/* Range i begins at starts[i] and stands for values[i]. */
typedef struct ranges {
  view_key_t *starts;
  uint32_t *values;
  size_t count;
} ranges_t;

struct networks {
  ranges_t v6;
  ranges_t v4; /* its starts moved to v4_starts: the last four bytes of the address alone */
  uint32_t *v4_starts;
};

typedef struct item {
  view_key_t first, last;
  uint8_t prefix;
  uint32_t value;
  size_t position;
} item_t;

static uint64_t load_be64(const uint8_t *p)
{
  uint64_t v = 0;
  for (int i = 0; i < 8; i++)
    v = v << 8 | p[i];
  return v;
}

static view_key_t key_of(const ip_t *ip)
{
  return (view_key_t){load_be64(ip->b), load_be64(ip->b + 8)};
}

/* The last address of the network that begins at first. */
static view_key_t last_of(view_key_t first, uint8_t prefix)
{
  if (prefix >= 128)
    return first;
  if (prefix >= 64)
    return (view_key_t){first.hi, first.lo | UINT64_MAX >> (prefix - 64)};
  return (view_key_t){prefix == 0 ? UINT64_MAX : first.hi | UINT64_MAX >> prefix, UINT64_MAX};
}

static int key_compare(view_key_t a, view_key_t b)
{
  if (a.hi != b.hi)
    return a.hi < b.hi ? -1 : 1;
  return a.lo == b.lo ? 0 : a.lo < b.lo ? -1 : 1;
}

/* By first address, a network before those within it. */
static int item_compare(const void *left, const void *right)
{
  const item_t *a = left;
  const item_t *b = right;
  int c = key_compare(a->first, b->first);
  if (c == 0)
    c = (a->prefix > b->prefix) - (a->prefix < b->prefix);
  if (c == 0)
    c = (a->position > b->position) - (a->position < b->position);
  return c;
}

/* From start on the value is `value`, until the next call. Ranges that turn out empty or alike are merged. */
static void range_begin(ranges_t *r, view_key_t start, uint32_t value)
{
  if (r->count > 0 && key_compare(r->starts[r->count - 1], start) == 0)
    r->count--;
  if (r->count > 0 && r->values[r->count - 1] == value)
    return;
  r->starts[r->count] = start;
  r->values[r->count] = value;
  r->count++;
}

/* False when key was the very last address. */
static bool key_next(view_key_t *key)
{
  key->lo++;
  if (key->lo == 0)
    key->hi++;
  return key->lo != 0 || key->hi != 0;
}

/* Networks are nested or apart, so a stack of the open ones (at most 129, one for each prefix length) is
 * all it takes. */
static void sweep(const item_t *items, size_t count, ranges_t *r)
{
  const item_t *open[129];
  size_t depth = 0;
  range_begin(r, (view_key_t){0, 0}, NETWORKS_NONE);
  for (size_t i = 0; i <= count; i++) {
    while (depth > 0 && (i == count || key_compare(open[depth - 1]->last, items[i].first) < 0)) {
      view_key_t after = open[--depth]->last;
      if (key_next(&after))
        range_begin(r, after, depth > 0 ? open[depth - 1]->value : NETWORKS_NONE);
    }
    if (i == count || (i > 0 && items[i].prefix == items[i - 1].prefix &&
                       key_compare(items[i].first, items[i - 1].first) == 0))
      continue;
    open[depth++] = &items[i];
    range_begin(r, items[i].first, items[i].value);
  }
}

static int find_tie(const item_t *items, size_t count, size_t *tie_a, size_t *tie_b)
{
  for (size_t i = 1; i < count; i++) {
    if (items[i].prefix != items[i - 1].prefix || key_compare(items[i].first, items[i - 1].first) != 0 ||
        items[i].value == items[i - 1].value)
      continue;
    if (tie_a != NULL)
      *tie_a = items[i - 1].position;
    if (tie_b != NULL)
      *tie_b = items[i].position;
    return SMPL_EEXIST;
  }
  return SMPL_OK;
}

static int flatten_family(const network_t *networks, size_t count, bool v4, ranges_t *r, size_t *tie_a,
                          size_t *tie_b)
{
  item_t *items = calloc(count + 1, sizeof *items);
  r->starts = calloc(2 * count + 1, sizeof *r->starts);
  r->values = calloc(2 * count + 1, sizeof *r->values);
  int err = SMPL_ENOMEM;
  if (items == NULL || r->starts == NULL || r->values == NULL)
    goto out;
  size_t n = 0;
  for (size_t i = 0; i < count; i++) {
    if (ip_net_is_v4(&networks[i].net) != v4)
      continue;
    view_key_t first = key_of(&networks[i].net.base);
    items[n++] =
        (item_t){first, last_of(first, networks[i].net.prefix), networks[i].net.prefix, networks[i].value, i};
  }
  qsort(items, n, sizeof *items, item_compare);
  err = find_tie(items, n, tie_a, tie_b);
  if (!err)
    sweep(items, n, r);
out:
  free(items);
  return err;
}

/* IPv4 ranges begin at zero, for what comes before the first address, and may end behind the last. */
static int shorten_v4(networks_t *n)
{
  static const uint64_t first = 0xffff00000000; /* ::ffff:0.0.0.0 */
  ranges_t *r = &n->v4;
  size_t count = 0;
  n->v4_starts = calloc(r->count, sizeof *n->v4_starts);
  if (n->v4_starts == NULL)
    return SMPL_ENOMEM;
  for (size_t i = 0; i < r->count; i++) {
    uint64_t start = r->starts[i].lo;
    if (start > (first | UINT32_MAX))
      break;
    if (start == first)
      count = 0; /* nothing is before */
    n->v4_starts[count] = start > first ? (uint32_t)start : 0;
    r->values[count++] = r->values[i];
  }
  r->count = count;
  free(r->starts);
  r->starts = NULL;
  return SMPL_OK;
}

int networks_flatten(const network_t *networks, size_t count, networks_t **out, size_t *tie_a, size_t *tie_b)
{
  *out = NULL;
  networks_t *n = calloc(1, sizeof *n);
  if (n == NULL)
    return SMPL_ENOMEM;
  int err = flatten_family(networks, count, true, &n->v4, tie_a, tie_b);
  if (!err)
    err = shorten_v4(n);
  if (!err)
    err = flatten_family(networks, count, false, &n->v6, tie_a, tie_b);
  if (err) {
    networks_free(n);
    return err;
  }
  *out = n;
  return SMPL_OK;
}

void networks_free(networks_t *networks)
{
  if (networks == NULL)
    return;
  free(networks->v4.starts);
  free(networks->v4_starts);
  free(networks->v4.values);
  free(networks->v6.starts);
  free(networks->v6.values);
  free(networks);
}

uint32_t networks_find(const networks_t *networks, const ip_t *ip)
{
  view_key_t key = key_of(ip);
  if (ip_is_v4(ip))
    return networks->v4
        .values[view_choice_find_v4(networks->v4_starts, networks->v4.count, (uint32_t)key.lo)];
  return networks->v6.values[view_choice_find(networks->v6.starts, networks->v6.count, key)];
}

size_t networks_ranges(const networks_t *networks)
{
  return networks->v4.count + networks->v6.count;
}
