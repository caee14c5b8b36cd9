/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/admin.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"

typedef struct total {
  char *view; /* NULL: clients without one */
  stats_sum_t sum;
} total_t;

struct admin_totals {
  total_t *items;
  size_t count;
};

admin_totals_t *admin_totals_new(void)
{
  return calloc(1, sizeof(admin_totals_t));
}

void admin_totals_free(admin_totals_t *t)
{
  if (t == NULL)
    return;
  for (size_t i = 0; i < t->count; i++)
    free(t->items[i].view);
  free(t->items);
  free(t);
}

static bool is_total_of(const total_t *t, const char *view)
{
  return t->view == view || (t->view != NULL && view != NULL && strcmp(t->view, view) == 0);
}

/* hint: where it most likely is, as long as the views stay as they were. */
static const total_t *find(const admin_totals_t *t, const char *view, size_t hint)
{
  if (hint < t->count && is_total_of(&t->items[hint], view))
    return &t->items[hint];
  for (size_t i = 0; i < t->count; i++)
    if (is_total_of(&t->items[i], view))
      return &t->items[i];
  return NULL;
}

static const char *view_name_at(const snapshot_t *s, size_t i)
{
  return i < snapshot_view_count(s) ? view_name(snapshot_view(s, i)) : NULL;
}

static int add(admin_totals_t *t, const char *view, size_t hint, const stats_sum_t *sum)
{
  const total_t *there = find(t, view, hint);
  if (there != NULL) {
    stats_sum_merge(&t->items[there - t->items].sum, sum);
    return SMPL_OK;
  }
  total_t *items = reallocarray(t->items, t->count + 1, sizeof *items);
  if (items == NULL)
    return SMPL_ENOMEM;
  t->items = items;
  char *name = view != NULL ? strdup(view) : NULL;
  if (view != NULL && name == NULL)
    return SMPL_ENOMEM;
  items[t->count++] = (total_t){name, *sum};
  return SMPL_OK;
}

int admin_totals_fold(admin_totals_t *t, const snapshot_t *s)
{
  int err = SMPL_OK;
  for (size_t i = 0; !err && i <= snapshot_view_count(s); i++) {
    stats_sum_t sum = snapshot_stats_sum(s, i);
    err = add(t, view_name_at(s, i), i, &sum);
  }
  return err;
}

static json_t *iso(uint64_t wall_ms)
{
  char text[CLOCK_ISO_MAX];
  return json_string(clock_format_iso(text, wall_ms));
}

json_t *admin_sizes(const snapshot_t *s)
{
  json_int_t names = 0;
  json_int_t records = 0;
  json_int_t bytes = 0;
  for (size_t i = 0; i < snapshot_zone_count(s); i++) {
    zone_facts_t f = zone_facts(snapshot_zone(s, i));
    names += f.names;
    records += f.records;
    bytes += (json_int_t)f.bytes;
  }
  return json_pack("{s:I, s:I, s:I, s:I}", "zones", (json_int_t)snapshot_zone_count(s), "names", names,
                   "records", records, "bytes", bytes);
}

static json_t *listeners(const snapshot_t *s)
{
  json_t *list = json_array();
  for (size_t i = 0; list != NULL && i < snapshot_listener_count(s); i++) {
    char text[ENDPOINT_TEXT_MAX];
    endpoint_t at = snapshot_listener(s, i);
    const listener_conf_t *conf = snapshot_listener_conf(s, i);
    json_t *views = json_array();
    for (size_t j = 0; views != NULL && j < conf->views.count; j++)
      json_array_append_new(views, json_string(settings_name_at(&conf->views, j)));
    json_array_append_new(list,
                          json_pack("{s:s, s:o}", "address", endpoint_format(&at, text), "views", views));
  }
  return list;
}

/* NULL: none is kept. */
static json_t *query_log_json(const query_log_t *log)
{
  if (log == NULL)
    return NULL;
  return json_pack("{s:I, s:I}", "written", (json_int_t)query_log_written(log), "dropped",
                   (json_int_t)query_log_dropped(log));
}

static const char *source_text(snapshot_source_t source)
{
  static const char *const texts[] = {"file", "copy", "none"};
  return texts[source];
}

/* Those that a start could not read. */
static json_t *bad_zones(const snapshot_t *s)
{
  json_t *list = json_array();
  for (size_t i = 0; list != NULL && i < snapshot_zone_count(s); i++) {
    const snapshot_origin_t *o = snapshot_zone_origin(s, i);
    if (o->source == SNAPSHOT_FILE)
      continue;
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:o, s:I, s:s}", "name", zone_name(snapshot_zone(s, i)),
                                    "source", source_text(o->source), "kept",
                                    o->source == SNAPSHOT_COPY ? iso(o->copy.made_ms) : json_null(), "serial",
                                    (json_int_t)zone_facts(snapshot_zone(s, i)).serial, "why", o->why));
  }
  return list;
}

/* NULL: nobody asked for it. */
static json_t *copies_kept(const admin_state_t *a)
{
  return snapshot_settings(a->snapshot)->state != NULL ? json_boolean(a->copies_kept) : NULL;
}

json_t *admin_status(const admin_state_t *a)
{
  return json_pack(
      "{s:b, s:s, s:s, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:s, s:I, s:o, s:o?, s:o, s:o, s:o, s:o?}", "ok", 1,
      "version", SMPL_VERSION, "config", a->config, "pid", (json_int_t)getpid(), "started",
      iso(a->about.started_ms), "loaded", iso(a->about.loaded_ms), "uptime_ms", (json_int_t)a->uptime_ms,
      "workers", (json_int_t)snapshot_workers(a->snapshot), "reloads", (json_int_t)a->about.reloads,
      "failed_reloads", (json_int_t)a->about.failures, "last_error", a->last_error, "tcp_connections",
      (json_int_t)a->tcp_connections, "walls", walls_json(&a->walls), "query_log",
      query_log_json(a->query_log), "listeners", listeners(a->snapshot), "data", admin_sizes(a->snapshot),
      "bad_zones", bad_zones(a->snapshot), "copies_kept", copies_kept(a));
}

static json_t *zone_json(const snapshot_t *s, size_t i)
{
  const zone_t *z = snapshot_zone(s, i);
  const char *file = settings_zone_at(snapshot_settings(s), i)->file;
  zone_facts_t f = zone_facts(z);
  char origin[DNS_NAME_TEXT_MAX];
  return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:[]}", "name", zone_name(z), "origin",
                   dns_name_to_text(zone_origin(z), origin), "file", file, "source",
                   source_text(snapshot_zone_origin(s, i)->source), "serial", (json_int_t)f.serial, "names",
                   (json_int_t)f.names, "records", (json_int_t)f.records, "bytes", (json_int_t)f.bytes,
                   "queries", (json_int_t)snapshot_zone_queries(s, i), "views");
}

json_t *admin_zones(const admin_state_t *a)
{
  json_t *list = json_array();
  const settings_t *settings = snapshot_settings(a->snapshot);
  for (size_t i = 0; list != NULL && i < snapshot_zone_count(a->snapshot); i++)
    json_array_append_new(list, zone_json(a->snapshot, i));
  for (size_t i = 0; i < settings->views.count; i++) {
    const view_conf_t *v = settings_view_at(settings, i);
    for (size_t j = 0; j < v->zones.count; j++) {
      size_t zone = settings_zone(settings, settings_name_at(&v->zones, j));
      json_array_append_new(json_object_get(json_array_get(list, zone), "views"), json_string(v->name));
    }
  }
  return json_pack("{s:b, s:o}", "ok", 1, "zones", list);
}

void admin_each_view(const admin_state_t *a,
                     void (*each)(void *ctx, const char *view, const stats_sum_t *sum), void *ctx)
{
  for (size_t i = 0; i <= snapshot_view_count(a->snapshot); i++) {
    const char *name = view_name_at(a->snapshot, i);
    stats_sum_t sum = snapshot_stats_sum(a->snapshot, i);
    const total_t *past = find(a->totals, name, i);
    if (past != NULL)
      stats_sum_merge(&sum, &past->sum);
    each(ctx, name, &sum);
  }
}

typedef struct stats_lists {
  json_t *views;
  stats_sum_t all;
} stats_lists_t;

static void add_view(void *ctx, const char *name, const stats_sum_t *sum)
{
  stats_lists_t *lists = ctx;
  stats_sum_merge(&lists->all, sum);
  json_t *item = stats_json(sum);
  if (item != NULL)
    json_object_set_new(item, "view", name != NULL ? json_string(name) : json_null());
  json_array_append_new(lists->views, item);
}

json_t *admin_stats(const admin_state_t *a)
{
  stats_lists_t lists = {.views = json_array()};
  if (lists.views != NULL)
    admin_each_view(a, add_view, &lists);
  return json_pack("{s:b, s:o, s:o}", "ok", 1, "views", lists.views, "all", stats_json(&lists.all));
}
