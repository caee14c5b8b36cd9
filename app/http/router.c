/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/router.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"

typedef struct segment {
  const char *text;
  size_t len;
  bool parameter;
} segment_t;

typedef struct entry {
  const route_t *route;
  void *context;
  void (*guard)(request_t *request, void *context);
  size_t count;
  segment_t segments[LIMIT_ROUTE_SEGMENTS];
} entry_t;

struct router {
  size_t count;
  entry_t entries[LIMIT_ROUTES]; /* of two that match one path, the one with the earlier literal segment is
                                    first */
};

/* Splits the route's pattern into segments. */
static int split(const route_t *route, entry_t *entry, diag_t *diag)
{
  const char *at = route->path;
  size_t parameters = 0;
  if (at[0] != '/')
    return diag_fail(diag, SMPL_EINVAL, "route %s: the path must start with /", route->path);
  if (strcmp(at, "/") == 0) {
    entry->segments[entry->count++] = (segment_t){at + 1, 0, false};
    return SMPL_OK;
  }
  while (*at == '/') {
    at++;
    size_t len = strcspn(at, "/");
    bool parameter = len > 2 && at[0] == '{' && at[len - 1] == '}';
    if (!parameter && gate_path((const uint8_t *)at - 1, len + 1) != GATE_ADMIT)
      return diag_fail(diag, SMPL_EINVAL, "route %s: malformed segment", route->path);
    if (len == 0)
      return diag_fail(diag, SMPL_EINVAL, "route %s: empty segment", route->path);
    if (parameter)
      parameters++;
    if (entry->count == LIMIT_ROUTE_SEGMENTS || parameters > LIMIT_ROUTE_PARAMETERS)
      return diag_fail(diag, SMPL_ELIMIT, "route %s: too many segments or parameters", route->path);
    entry->segments[entry->count++] = (segment_t){at, len, parameter};
    at += len;
  }
  return SMPL_OK;
}

/* Literal segments before parameters; routes of one shape together. */
static int compare(const void *left, const void *right)
{
  const entry_t *a = left;
  const entry_t *b = right;
  if (a->count != b->count)
    return a->count < b->count ? -1 : 1;
  for (size_t i = 0; i < a->count; i++) {
    const segment_t *s = &a->segments[i];
    const segment_t *t = &b->segments[i];
    if (s->parameter != t->parameter)
      return s->parameter ? 1 : -1;
    if (s->parameter)
      continue;
    size_t least = s->len < t->len ? s->len : t->len;
    int order = memcmp(s->text, t->text, least);
    if (order != 0)
      return order;
    if (s->len != t->len)
      return s->len < t->len ? -1 : 1;
  }
  return 0;
}

static bool admitted(const rule_t *rules, size_t count, const char *pattern)
{
  for (size_t i = 0; i < count; i++)
    if (rule_admits_pattern(&rules[i], pattern))
      return true;
  return false;
}

static int add(router_t *router, const route_t *route, const route_source_t *source, diag_t *diag)
{
  entry_t entry = {.route = route,
                   .context = source->context,
                   .guard = route->operation == OPERATION_CUSTOMER ? source->guard : NULL};
  int err = split(route, &entry, diag);
  if (err)
    return err;
  for (size_t i = 0; i < router->count; i++)
    if (compare(&router->entries[i], &entry) == 0 && router->entries[i].route->method == route->method)
      return diag_fail(diag, SMPL_EEXIST, "route %s: registered twice for one method", route->path);
  if (router->count == LIMIT_ROUTES)
    return diag_fail(diag, SMPL_ELIMIT, "route %s: more than %d routes", route->path, LIMIT_ROUTES);
  router->entries[router->count++] = entry;
  return SMPL_OK;
}

int router_new(const rule_t *rules, size_t rule_count, const route_source_t *sources, size_t source_count,
               router_t **out, diag_t *diag)
{
  int err = SMPL_OK;
  *out = NULL;
  router_t *router = calloc(1, sizeof *router);
  if (router == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; !err && i < source_count; i++)
    for (size_t j = 0; !err && j < sources[i].count; j++)
      if (admitted(rules, rule_count, sources[i].routes[j].path))
        err = add(router, &sources[i].routes[j], &sources[i], diag);
  if (err) {
    router_free(router);
    return err;
  }
  qsort(router->entries, router->count, sizeof *router->entries, compare);
  *out = router;
  return SMPL_OK;
}

void router_free(router_t *router)
{
  free(router);
}

/* Compares segment by segment and notes where the parameters are. */
static bool match(const entry_t *entry, const uint8_t *path, size_t len, route_match_t *out)
{
  size_t at = 1;
  size_t parameters = 0;
  for (size_t i = 0; i < entry->count; i++) {
    const segment_t *segment = &entry->segments[i];
    if (at > len)
      return false;
    const uint8_t *slash = memchr(path + at, '/', len - at);
    size_t end = slash != NULL ? (size_t)(slash - path) : len;
    if (segment->parameter)
      out->parameters[parameters++] = (span_t){(uint32_t)at, (uint32_t)(end - at)};
    else if (end - at != segment->len || memcmp(path + at, segment->text, segment->len) != 0)
      return false;
    at = end + 1;
  }
  out->parameter_count = parameters;
  return at == len + 1;
}

void router_find(const router_t *router, const uint8_t *path, size_t len, method_t method, route_match_t *out)
{
  *out = (route_match_t){.route = NULL};
  for (size_t i = 0; i < router->count; i++) {
    const entry_t *entry = &router->entries[i];
    if (!match(entry, path, len, out))
      continue;
    out->allowed |= 1u << entry->route->method;
    if (entry->route->method == method) {
      out->route = entry->route;
      out->context = entry->context;
      out->guard = entry->guard;
      return;
    }
  }
}

size_t router_count(const router_t *router)
{
  return router->count;
}

const route_t *router_route(const router_t *router, size_t index)
{
  return router->entries[index].route;
}
