/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/view/view.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/zone/name_hash.h"

typedef struct entry {
  uint64_t hash;
  const zone_t *zone; /* NULL: free */
} entry_t;

/* What a question needs of a view with one zone is one cache line: there may be thousands of views. */
enum { VIEW_ALIGN = 64 };

struct view {
  uint64_t depths[2]; /* bit n: some origin has n labels */
  uint32_t mask;
  uint32_t count;
  char *name;
  entry_t table[]; /* a power of two, at most half full */
};
_Static_assert(sizeof(struct view) + 2 * sizeof(entry_t) <= VIEW_ALIGN,
               "a view with one zone is one cache line");

static const zone_t *find(const view_t *v, const uint8_t *name, size_t len)
{
  uint64_t h = name_hash(name, len);
  for (size_t i = h & v->mask; v->table[i].zone != NULL; i = (i + 1) & v->mask) {
    const dns_name_t *origin = zone_origin(v->table[i].zone);
    if (v->table[i].hash == h && origin->len == len && memcmp(origin->wire, name, len) == 0)
      return v->table[i].zone;
  }
  return NULL;
}

static int add(view_t *v, const zone_t *zone)
{
  const dns_name_t *origin = zone_origin(zone);
  if (find(v, origin->wire, origin->len) != NULL)
    return SMPL_EEXIST;
  uint64_t h = name_hash(origin->wire, origin->len);
  size_t i = h & v->mask;
  while (v->table[i].zone != NULL)
    i = (i + 1) & v->mask;
  v->table[i] = (entry_t){h, zone};
  unsigned labels = dns_name_labels(origin);
  v->depths[labels / 64] |= 1ULL << labels % 64;
  return SMPL_OK;
}

int view_new(const char *name, zone_t *const *zones, size_t count, view_t **out)
{
  *out = NULL;
  size_t size = 2;
  while (size < count * 2)
    size *= 2;
  if (size > UINT32_MAX / sizeof(entry_t))
    return SMPL_ENOMEM;
  size_t bytes = (sizeof(view_t) + size * sizeof(entry_t) + VIEW_ALIGN - 1) & ~(size_t)(VIEW_ALIGN - 1);
  view_t *v = aligned_alloc(VIEW_ALIGN, bytes);
  if (v == NULL)
    return SMPL_ENOMEM;
  memset(v, 0, bytes);
  v->name = strdup(name);
  v->mask = (uint32_t)size - 1;
  v->count = (uint32_t)count;
  int err = v->name != NULL ? SMPL_OK : SMPL_ENOMEM;
  for (size_t i = 0; !err && i < count; i++)
    err = add(v, zones[i]);
  if (err) {
    view_free(v);
    return err;
  }
  *out = v;
  return SMPL_OK;
}

void view_free(view_t *view)
{
  if (view == NULL)
    return;
  free(view->name);
  free(view);
}

const char *view_name(const view_t *view)
{
  return view->name;
}

size_t view_zone_count(const view_t *view)
{
  return view->count;
}

bool view_zone_for(const view_t *view, const dns_name_t *name, uint16_t type, zone_in_view_t *out)
{
  unsigned labels = dns_name_labels(name);
  const zone_t *below = NULL; /* of a DS question at an origin: what answers if nothing is above */
  for (size_t at = 0;; at += name->wire[at] + 1u, labels--) {
    if (view->depths[labels / 64] >> labels % 64 & 1) {
      const zone_t *z = find(view, name->wire + at, name->len - at);
      if (z != NULL && (type != DNS_TYPE_DS || at > 0)) {
        *out = (zone_in_view_t){view, z, zone_contents(z)};
        return true;
      }
      below = z != NULL ? z : below;
    }
    if (labels == 0)
      break;
  }
  *out = (zone_in_view_t){view, below, below != NULL ? zone_contents(below) : NULL};
  return below != NULL;
}
