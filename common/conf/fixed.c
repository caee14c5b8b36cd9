/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/fixed.h"

#include "common/base/error.h"

static bool same_map(const conf_map_t *map, const void *was, const void *is);

static bool same_scalar(const conf_scalar_t *scalar, const void *was, const void *is)
{
  return scalar->same != NULL && scalar->same(was, is, scalar->size);
}

static bool same_list(const conf_field_t *f, const conf_list_t *was, const conf_list_t *is)
{
  bool maps = f->shape == CONF_MAPS;
  size_t size = maps ? f->map->size : f->scalar->size;
  bool same = was->count == is->count;
  for (size_t i = 0; same && i < was->count; i++) {
    const char *x = (const char *)was->items + i * size, *y = (const char *)is->items + i * size;
    same = maps ? same_map(f->map, x, y) : same_scalar(f->scalar, x, y);
  }
  return same;
}

static bool same_field(const conf_field_t *f, const void *was, const void *is)
{
  switch (f->shape) {
  case CONF_ONE:
    return same_scalar(f->scalar, was, is);
  case CONF_MAP:
  case CONF_ONE_OR_MAP:
    return same_map(f->map, was, is);
  case CONF_MANY:
  case CONF_ONE_OR_MANY:
  case CONF_MAPS:
    return same_list(f, was, is);
  }
  return false;
}

static bool same_map(const conf_map_t *map, const void *was, const void *is)
{
  bool same = true;
  for (size_t i = 0; same && i < map->count; i++) {
    const conf_field_t *f = &map->fields[i];
    same = same_field(f, (const char *)was + f->offset, (const char *)is + f->offset);
  }
  return same;
}

static bool has_fixed(const conf_map_t *map)
{
  for (size_t i = 0; i < map->count; i++)
    if (map->fields[i].fixed || (map->fields[i].map != NULL && has_fixed(map->fields[i].map)))
      return true;
  return false;
}

/* What the walk carries along. */
typedef struct walk {
  conf_fixed_cb cb;
  void *ctx;
  size_t found;
} walk_t;

static void differs(walk_t *w, const conf_field_t *f, const void *at)
{
  w->found++;
  if (w->cb != NULL)
    w->cb(w->ctx, f, at);
}

static void walk_map(walk_t *w, const conf_map_t *map, const void *was, const void *is);

static void walk_maps(walk_t *w, const conf_field_t *f, const conf_list_t *was, const conf_list_t *is)
{
  if (!has_fixed(f->map))
    return;
  if (was->count != is->count) {
    differs(w, f, is);
    return;
  }
  for (size_t i = 0; i < was->count; i++)
    walk_map(w, f->map, (const char *)was->items + i * f->map->size,
             (const char *)is->items + i * f->map->size);
}

static void walk_map(walk_t *w, const conf_map_t *map, const void *was, const void *is)
{
  for (size_t i = 0; i < map->count; i++) {
    const conf_field_t *f = &map->fields[i];
    const void *x = (const char *)was + f->offset, *y = (const char *)is + f->offset;
    if (f->fixed && !same_field(f, x, y))
      differs(w, f, y);
    else if (!f->fixed && f->shape == CONF_MAPS)
      walk_maps(w, f, x, y);
    else if (!f->fixed && f->map != NULL)
      walk_map(w, f->map, x, y);
  }
}

size_t conf_fixed_each(const conf_map_t *map, const void *was, const void *is, conf_fixed_cb cb, void *ctx)
{
  walk_t w = {cb, ctx, 0};
  walk_map(&w, map, was, is);
  return w.found;
}

typedef struct first {
  const conf_t *conf;
  diag_t *diag;
} first_t;

/* The first message that a diag_t is told stays. */
static void tell(void *ctx, const conf_field_t *field, const void *at)
{
  const first_t *first = ctx;
  conf_fail(first->conf, first->diag, at, "%s: a change needs a restart", field->key);
}

int conf_fixed_check(const conf_t *conf, const conf_map_t *map, const void *was, const void *is, diag_t *diag)
{
  first_t first = {conf, diag};
  return conf_fixed_each(map, was, is, tell, &first) == 0 ? SMPL_OK : SMPL_EINVAL;
}
