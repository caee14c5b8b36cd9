/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/list.h"

_Static_assert((int)CATALOG_MS > (int)LOOKUP_TIMEOUT_MS_DEFAULT,
               "a lookup says what is wrong before its caller gives up");

static const char service[] = "_http._tcp.";

/* The owner of all its questions together: they are asked for everybody, and no user's questions shall use up
 * their places. No user is called so. */
static const char everybody[] = "*catalog";

typedef struct entry entry_t;

/* One service on its way to be known. */
typedef struct instance {
  entry_t *entry;
  dns_name_t owner; /* of its SRV record */
  lookup_query_t *query;
} instance_t;

struct entry {
  list_t link;
  catalog_t *catalog;
  char domain[GRANT_NAME_MAX];
  bool busy;
  bool forget; /* asked of a resolver that is not the one in force any more */
  uint64_t fresh_until, asked_at;
  uint32_t ttl;
  size_t count;
  catalog_name_t *names;
  /* while busy */
  uint64_t give_up_at;
  bool asked; /* for its pointers */
  bool held;  /* a question of it had to wait for a place */
  lookup_query_t *query;
  instance_t *instances;
  size_t instance_count, started, under_way;
};

struct catalog_gather {
  list_t link;
  catalog_t *catalog;
  catalog_cb cb;
  void *ctx;
  size_t count;
  char (*domains)[GRANT_NAME_MAX];
};

struct catalog {
  const finder_world_t *world;
  list_t entries; /* the newest first */
  size_t entry_count;
  list_t gathers; /* the newest first */
  uv_timer_t timer;
  bool closing;
};

/* ---- entries ---- */

static entry_t *find(const catalog_t *c, const char *domain)
{
  LIST_EACH(entry_t, e, &c->entries, link)
    if (strcmp(e->domain, domain) == 0)
      return e;
  return NULL;
}

static void stop_asking(entry_t *e)
{
  if (e->query != NULL)
    lookup_cancel(e->query);
  for (size_t i = 0; i < e->started; i++)
    if (e->instances[i].query != NULL)
      lookup_cancel(e->instances[i].query);
  free(e->instances);
  e->query = NULL;
  e->instances = NULL;
  e->instance_count = e->started = e->under_way = 0;
  e->busy = e->asked = e->held = false;
}

static void free_entry(entry_t *e)
{
  stop_asking(e);
  free(e->names);
  free(e);
}

static bool wanted(const catalog_t *c, const char *domain)
{
  LIST_EACH(const catalog_gather_t, g, &c->gathers, link)
    for (size_t i = 0; i < g->count; i++)
      if (strcmp(g->domains[i], domain) == 0)
        return true;
  return false;
}

/* Makes room by the entry that was asked longest ago and that nobody waits for. */
static bool evict(catalog_t *c)
{
  entry_t *oldest = NULL;
  LIST_EACH(entry_t, e, &c->entries, link)
    if (!wanted(c, e->domain) && (oldest == NULL || e->asked_at < oldest->asked_at))
      oldest = e;
  if (oldest == NULL)
    return false;
  list_remove(&oldest->link);
  c->entry_count--;
  free_entry(oldest);
  return true;
}

static entry_t *add(catalog_t *c, const char *domain)
{
  if (c->entry_count == CATALOG_DOMAINS_MAX && !evict(c))
    return NULL;
  entry_t *e = calloc(1, sizeof *e);
  if (e == NULL)
    return NULL;
  e->catalog = c;
  snprintf(e->domain, sizeof e->domain, "%s", domain);
  list_add_first(&c->entries, &e->link);
  c->entry_count++;
  return e;
}

/* ---- who waits ---- */

static bool all_known(const catalog_gather_t *g)
{
  for (size_t i = 0; i < g->count; i++) {
    const entry_t *e = find(g->catalog, g->domains[i]);
    if (e != NULL && e->busy)
      return false;
  }
  return true;
}

static void free_gather(catalog_gather_t *g)
{
  list_remove(&g->link);
  free(g->domains);
  free(g);
}

static catalog_gather_t *find_known(const catalog_t *c)
{
  LIST_EACH(catalog_gather_t, g, &c->gathers, link)
    if (all_known(g))
      return g;
  return NULL;
}

/* A callback may start or cancel others: begins anew after each. */
static void call_those_done(catalog_t *c)
{
  catalog_gather_t *g;
  while ((g = find_known(c)) != NULL) {
    list_remove(&g->link);
    g->cb(g->ctx);
    free_gather(g);
  }
}

/* ---- asking ---- */

static void lower(uint32_t *ttl, uint32_t other)
{
  if (other < *ttl)
    *ttl = other;
}

static int by_name(const void *a, const void *b)
{
  const catalog_name_t *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  return order != 0 ? order : (int)x->port - (int)y->port;
}

/* DNS gives a set in any order. */
static void finish(entry_t *e)
{
  if (e->count > 0)
    qsort(e->names, e->count, sizeof *e->names, by_name);
  uint64_t keep = (uint64_t)e->ttl * 1000;
  if (keep < CATALOG_KEEP_MIN_MS)
    keep = CATALOG_KEEP_MIN_MS;
  if (keep > CATALOG_KEEP_MAX_MS)
    keep = CATALOG_KEEP_MAX_MS;
  bool whole = !e->held || (e->asked && e->started == e->instance_count);
  stop_asking(e);
  e->fresh_until = e->forget || !whole ? 0 : clock_mono_ms() + keep;
  e->forget = false;
  call_those_done(e->catalog);
}

static void take_service(entry_t *e, const instance_t *instance, const lookup_srv_t *srv)
{
  catalog_name_t *n = &e->names[e->count];
  if (e->count == CATALOG_NAMES_MAX || srv->port == 0 || !target_of_wire(&srv->target, n->target) ||
      !target_of_wire(&instance->owner, n->name))
    return;
  size_t skip = sizeof service - 1;
  if (strncmp(n->name, service, skip) == 0)
    memmove(n->name, n->name + skip, strlen(n->name) - skip + 1);
  else
    memcpy(n->name, n->target, sizeof n->name);
  n->port = srv->port;
  e->count++;
}

static void go_on(catalog_t *c);

static void on_service(void *ctx, int err, const lookup_srvs_t *found)
{
  instance_t *instance = ctx;
  entry_t *e = instance->entry;
  instance->query = NULL;
  e->under_way--;
  if (!err) {
    lower(&e->ttl, found->ttl);
    take_service(e, instance, &found->srvs[0]);
  }
  go_on(e->catalog);
}

/* Only what lies below the domain is asked for: a pointer leads nowhere else. */
static bool below(const entry_t *e, const dns_name_t *owner)
{
  char name[GRANT_NAME_MAX];
  return target_of_wire(owner, name) && target_in_domain(name, e->domain);
}

static void on_pointers(void *ctx, int err, const lookup_ptrs_t *found)
{
  entry_t *e = ctx;
  e->query = NULL;
  e->under_way--;
  e->count = 0;
  e->ttl = err ? 0 : found->ttl;
  if (!err && found->count > 0) {
    free(e->names);
    e->names = calloc(CATALOG_NAMES_MAX, sizeof *e->names);
    e->instances = calloc(found->count, sizeof *e->instances);
  }
  for (size_t i = 0; !err && e->names != NULL && e->instances != NULL && i < found->count; i++)
    if (below(e, &found->names[i]))
      e->instances[e->instance_count++] = (instance_t){e, found->names[i], NULL};
  go_on(e->catalog);
}

static int ask_pointers(entry_t *e)
{
  char text[sizeof service + GRANT_NAME_MAX];
  dns_name_t name;
  snprintf(text, sizeof text, "%s%s", service, e->domain);
  int err = dns_name_from_text(text, &name);
  return err ? err : lookup_pointers(e->catalog->world->lookup, everybody, &name, on_pointers, e, &e->query);
}

static int ask_instance(entry_t *e)
{
  instance_t *instance = &e->instances[e->started];
  int err = lookup_services(e->catalog->world->lookup, everybody, &instance->owner, on_service, instance,
                            &instance->query);
  if (err)
    instance->query = NULL;
  return err;
}

/* SMPL_ELIMIT: no place for it now. A question that cannot be asked at all is passed over. */
static int ask_one(entry_t *e)
{
  int err = e->asked ? ask_instance(e) : ask_pointers(e);
  e->held = e->held || err == SMPL_ELIMIT;
  if (err == SMPL_ELIMIT)
    return err;
  e->started += e->asked;
  e->asked = true;
  e->under_way += err == SMPL_OK;
  return SMPL_OK;
}

/* Of those that have something to ask the one with the fewest questions under way: a domain that comes late
 * does not wait for all of those before it. */
static entry_t *next_in_turn(const catalog_t *c)
{
  entry_t *next = NULL;
  LIST_EACH(entry_t, e, &c->entries, link) {
    bool wants = e->busy && (!e->asked || (e->query == NULL && e->started < e->instance_count));
    if (wants && e->under_way < CATALOG_PARALLEL && (next == NULL || e->under_way < next->under_way))
      next = e;
  }
  return next;
}

static void ask_on(catalog_t *c)
{
  entry_t *e;
  do
    e = next_in_turn(c);
  while (e != NULL && ask_one(e) == SMPL_OK);
}

static entry_t *find_done(const catalog_t *c)
{
  LIST_EACH(entry_t, e, &c->entries, link)
    if (e->busy && e->asked && e->under_way == 0 && e->started == e->instance_count)
      return e;
  return NULL;
}

static void go_on(catalog_t *c)
{
  entry_t *e;
  ask_on(c);
  while ((e = find_done(c)) != NULL) /* those who hear of it may ask for more */
    finish(e);
}

static void ask(entry_t *e)
{
  e->asked_at = clock_mono_ms();
  e->give_up_at = e->asked_at + CATALOG_MS;
  e->busy = true;
  ask_on(e->catalog); /* nobody is told of an end here: who asks is not ready to hear it */
  if (!uv_is_active((uv_handle_t *)&e->catalog->timer))
    uv_timer_again(&e->catalog->timer);
}

static void on_timer(uv_timer_t *timer)
{
  catalog_t *c = timer->data;
  uint64_t now = clock_mono_ms();
  bool busy = false;
  go_on(c); /* places may have become free that others had */
  LIST_EACH(entry_t, e, &c->entries, link) {
    if (e->busy && now >= e->give_up_at) {
      finish(e);
      return; /* the list may have changed */
    }
    busy = busy || e->busy;
  }
  if (!busy)
    uv_timer_stop(timer);
}

/* ---- the outside ---- */

int catalog_new(const finder_world_t *world, catalog_t **out)
{
  catalog_t *c = calloc(1, sizeof *c);
  *out = c;
  if (c == NULL)
    return SMPL_ENOMEM;
  c->world = world;
  list_init(&c->entries);
  list_init(&c->gathers);
  c->timer.data = c;
  uv_timer_init(world->loop, &c->timer);
  uv_timer_start(&c->timer, on_timer, 200, 200);
  uv_timer_stop(&c->timer);
  return SMPL_OK;
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

void catalog_free(catalog_t *c)
{
  if (c == NULL)
    return;
  LIST_EACH(entry_t, e, &c->entries, link)
    free_entry(e);
  LIST_EACH(catalog_gather_t, g, &c->gathers, link)
    free_gather(g);
  uv_close((uv_handle_t *)&c->timer, on_closed);
}

void catalog_forget(catalog_t *c)
{
  LIST_EACH(entry_t, e, &c->entries, link) {
    e->fresh_until = 0;
    e->forget = e->busy;
  }
}

static void want(catalog_t *c, const char *domain)
{
  entry_t *e = find(c, domain);
  if (e == NULL)
    e = add(c, domain);
  if (e != NULL && !e->busy && clock_mono_ms() >= e->fresh_until)
    ask(e);
}

void catalog_gather(catalog_t *c, const char *const *domains, size_t count, catalog_cb cb, void *ctx,
                    catalog_gather_t **out)
{
  *out = NULL;
  catalog_gather_t *g = calloc(1, sizeof *g);
  if (g != NULL)
    g->domains = calloc(count + 1, sizeof *g->domains);
  if (g == NULL || g->domains == NULL) {
    free(g);
    cb(ctx);
    return;
  }
  g->catalog = c;
  g->cb = cb;
  g->ctx = ctx;
  for (size_t i = 0; i < count && g->count < CATALOG_GATHER_MAX; i++)
    snprintf(g->domains[g->count++], GRANT_NAME_MAX, "%s", domains[i]);
  list_add_first(
      &c->gathers,
      &g->link); /* before anything is asked: keeps its domains from being forgotten for one another */
  for (size_t i = 0; i < g->count; i++)
    want(c, g->domains[i]);
  if (!all_known(g)) {
    *out = g;
    return;
  }
  list_remove(&g->link);
  cb(ctx);
  free_gather(g);
}

void catalog_cancel(catalog_gather_t *g)
{
  if (g == NULL)
    return;
  free_gather(g);
}

const catalog_name_t *catalog_names(const catalog_t *c, const char *domain, size_t *count)
{
  const entry_t *e = find(c, domain);
  *count = e != NULL ? e->count : 0;
  return *count > 0 ? e->names : NULL;
}
