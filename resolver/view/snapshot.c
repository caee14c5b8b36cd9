/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/view/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "resolver/limits.h"
#include "resolver/view/networks.h"
#include "resolver/zone/zone_text.h"

enum { CACHE_LINE = 64 };
_Static_assert(_Alignof(stats_t) == CACHE_LINE, "counters of two workers never share a cache line");

typedef struct dns_listener {
  endpoint_t endpoint;
  const listener_conf_t *conf;
  networks_t *networks; /* values are numbers of views */
} dns_listener_t;

/* What a query needs to know of its view before it reads it. */
typedef struct chosen {
  const view_t *view;
  uint32_t rate; /* answers a second to one network over UDP; 0: no limit */
} chosen_t;

struct snapshot {
  uint64_t generation;
  settings_t settings;
  unsigned workers;
  dns_listener_t *listeners;
  size_t listener_count;
  zone_t **zones;
  snapshot_origin_t *origins; /* [zone_count] */
  size_t *views_of;           /* [zone_count + 1]: find_views_of_zones */
  uint32_t *view_list;
  size_t zone_count;
  view_t **views;
  chosen_t *chosen; /* [view_count], and one more for clients without a view */
  size_t view_count;
  stats_t *stats;           /* [worker][view_count + 1] */
  zone_stats_t *zone_stats; /* [worker][zone_stride] */
  size_t zone_stride;       /* so that no two workers write to one cache line */
  uint64_t *zone_past;      /* [zone_count]: queries to zones of this name before this snapshot */
};

static int listener_compare(const void *left, const void *right)
{
  const dns_listener_t *a = left;
  const dns_listener_t *b = right;
  int c = ip_compare(&a->endpoint.ip, &b->endpoint.ip);
  return c != 0 ? c : (int)a->endpoint.port - (int)b->endpoint.port;
}

/* Where network number i of a listener stands in the configuration. */
typedef struct origin {
  const view_conf_t *view;
  size_t client;
} origin_t;

static int tie(const snapshot_t *s, const listener_conf_t *l, origin_t a, origin_t b, diag_t *diag)
{
  char net[IP_NET_TEXT_MAX];
  char address[IP_TEXT_MAX];
  char place[DIAG_TEXT_MAX];
  const ip_net_t *first = settings_client_at(a.view, a.client);
  const ip_net_t *second = settings_client_at(b.view, b.client);
  return conf_fail(s->settings.conf, diag, second,
                   "network %s of view '%s' is one of view '%s' too (%s): dns listener %s port %u has both "
                   "and could not choose",
                   ip_net_format(second, net), b.view->name, a.view->name,
                   conf_place(s->settings.conf, first, place, sizeof place), ip_format(&l->address, address),
                   (unsigned)l->port);
}

static int load_networks(snapshot_t *s, dns_listener_t *l, diag_t *diag)
{
  size_t count = 0;
  for (size_t i = 0; i < l->conf->views.count; i++)
    count += settings_view_at(&s->settings, settings_view(&s->settings, settings_name_at(&l->conf->views, i)))
                 ->clients.count;
  network_t *nets = calloc(count + 1, sizeof *nets);
  origin_t *origins = calloc(count + 1, sizeof *origins);
  int err = SMPL_ENOMEM;
  if (nets == NULL || origins == NULL)
    goto out;
  size_t n = 0;
  for (size_t i = 0; i < l->conf->views.count; i++) {
    size_t number = settings_view(&s->settings, settings_name_at(&l->conf->views, i));
    const view_conf_t *v = settings_view_at(&s->settings, number);
    for (size_t j = 0; j < v->clients.count; j++, n++) {
      nets[n] = (network_t){*settings_client_at(v, j), (uint32_t)number};
      origins[n] = (origin_t){v, j};
    }
  }
  size_t a = 0;
  size_t b = 0;
  err = networks_flatten(nets, count, &l->networks, &a, &b);
  if (err == SMPL_EEXIST && origins[a].view != NULL && origins[b].view != NULL)
    err = tie(s, l->conf, origins[a], origins[b], diag);
out:
  if (err == SMPL_ENOMEM)
    diag_fail(diag, err, "out of memory");
  free(nets);
  free(origins);
  return err;
}

static int load_listeners(snapshot_t *s, diag_t *diag)
{
  size_t count = s->settings.listeners.count;
  s->listeners = calloc(count + 1, sizeof *s->listeners);
  if (s->listeners == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  s->listener_count = count;
  for (size_t i = 0; i < count; i++) {
    const listener_conf_t *l = settings_listener_at(&s->settings, i);
    s->listeners[i] = (dns_listener_t){.endpoint = {l->address, (uint16_t)l->port}, .conf = l};
  }
  qsort(s->listeners, count, sizeof *s->listeners, listener_compare);
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < count; i++)
    err = load_networks(s, &s->listeners[i], diag);
  return err;
}

/* Calls each zone that a view has, itself and below an overlay. */
static void each_zone_of_view(const settings_t *s, size_t view,
                              void (*each)(snapshot_t *s, size_t zone, size_t view), snapshot_t *ctx)
{
  const view_conf_t *v = settings_view_at(s, view);
  for (size_t i = 0; i < v->zones.count; i++) {
    size_t at = settings_zone(s, settings_name_at(&v->zones, i));
    const char *base = settings_zone_at(s, at)->base;
    each(ctx, at, view);
    if (base != NULL)
      each(ctx, settings_zone(s, base), view);
  }
}

static void count_view(snapshot_t *s, size_t zone, size_t view)
{
  (void)view;
  s->views_of[zone + 1]++;
}

static void place_view(snapshot_t *s, size_t zone, size_t view)
{
  s->view_list[s->views_of[zone]++] = (uint32_t)view;
}

/* views_of[i] to views_of[i + 1] are the places in view_list of zone i's views. */
static int find_views_of_zones(snapshot_t *s, diag_t *diag)
{
  size_t zones = s->settings.zones.count;
  s->views_of = calloc(zones + 2, sizeof *s->views_of);
  if (s->views_of == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; i < s->settings.views.count; i++)
    each_zone_of_view(&s->settings, i, count_view, s);
  for (size_t i = 0; i < zones; i++)
    s->views_of[i + 1] += s->views_of[i];
  s->view_list = calloc(s->views_of[zones] + 1u, sizeof *s->view_list);
  if (s->view_list == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; i < s->settings.views.count; i++)
    each_zone_of_view(&s->settings, i, place_view, s);
  for (size_t i = zones; i > 0; i--)
    s->views_of[i] = s->views_of[i - 1];
  s->views_of[0] = 0;
  return SMPL_OK;
}

int snapshot_zone_views(const snapshot_t *s, size_t i, zone_copy_views_t *out)
{
  size_t from = s->views_of[i], to = s->views_of[i + 1];
  *out = (zone_copy_views_t){.items = calloc(to - from + 1, sizeof *out->items)};
  if (out->items == NULL)
    return SMPL_ENOMEM;
  for (size_t at = from; at < to; at++) {
    const view_conf_t *v = settings_view_at(&s->settings, s->view_list[at]);
    out->items[out->count++] = (zone_copy_view_t){v->name, settings_view_is_private(v)};
  }
  return SMPL_OK;
}

/* malloc'ed. */
static char *copy_path(const snapshot_t *s, size_t i)
{
  char file[ZONE_COPY_NAME_MAX];
  char *path = NULL;
  const char *name = settings_zone_at(&s->settings, i)->name;
  return asprintf(&path, "%s/%s", s->settings.state, zone_copy_name(name, file)) < 0 ? NULL : path;
}

static int load_copy(snapshot_t *s, size_t i, const dns_name_t *origin, zone_contents_t **out, diag_t *diag)
{
  const zone_conf_t *z = settings_zone_at(&s->settings, i);
  zone_copy_views_t views;
  if (s->settings.state == NULL)
    return diag_fail(diag, SMPL_ENOENT, "none is kept (state:)");
  int err = snapshot_zone_views(s, i, &views);
  char *path = copy_path(s, i);
  if (err || path == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  else
    err = zone_copy_read(z->name, origin, path, &views, out, &s->origins[i].copy, diag);
  free(views.items);
  free(path);
  return err;
}

/* Its file cannot be read: the last good copy, or nothing. */
static int replace_zone(snapshot_t *s, size_t i, const dns_name_t *origin, const diag_t *wrong,
                        zone_contents_t **out, diag_t *diag)
{
  snapshot_origin_t *o = &s->origins[i];
  diag_t why = {""};
  o->source = SNAPSHOT_COPY;
  if (load_copy(s, i, origin, out, &why) == SMPL_OK) {
    o->why = strdup(wrong->text);
    return o->why != NULL ? SMPL_OK : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  o->source = SNAPSHOT_NOWHERE;
  if (asprintf(&o->why, "%s; no copy can be served: %s", wrong->text, why.text) < 0)
    o->why = NULL;
  if (o->why == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  return SMPL_OK;
}

/* Its handle, and what is to stand in it. */
static int load_zone(snapshot_t *s, size_t i, bool at_start, diag_t *diag)
{
  const zone_conf_t *z = settings_zone_at(&s->settings, i);
  zone_contents_t *contents = NULL;
  dns_name_t origin;
  diag_t wrong = {""};
  int err = settings_origin(z->name, &origin);
  if (err)
    return err;
  if (zone_new(z->name, &origin, z->file, &s->zones[i]))
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  err = zone_read_file(z->name, &origin, z->file, &contents, &wrong);
  if (err && at_start)
    err = replace_zone(s, i, &origin, &wrong, &contents, diag);
  else if (err)
    *diag = wrong;
  if (!err)
    zone_swap(s->zones[i], contents); /* it had none */
  else
    zone_contents_free(contents);
  return err;
}

static int load_zones(snapshot_t *s, bool at_start, diag_t *diag)
{
  s->zones = calloc(s->settings.zones.count + 1, sizeof(zone_t *));
  s->origins = calloc(s->settings.zones.count + 1, sizeof *s->origins);
  if (s->zones == NULL || s->origins == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < s->settings.zones.count; i++) {
    err = load_zone(s, i, at_start, diag);
    if (!err)
      zone_set_number(s->zones[i], (uint32_t)i);
    s->zone_count++;
  }
  for (size_t i = 0; !err && i < s->zone_count; i++) {
    const zone_conf_t *z = settings_zone_at(&s->settings, i);
    if (z->base != NULL && zone_set_base(s->zones[i], s->zones[settings_zone(&s->settings, z->base)]))
      err = diag_fail(diag, SMPL_EINVAL, "zone '%s': '%s' cannot be its base", z->name, z->base);
  }
  return err;
}

static int load_view(snapshot_t *s, const view_conf_t *v, view_t **out, diag_t *diag)
{
  zone_t **zones = calloc(v->zones.count + 1, sizeof(zone_t *));
  int err = SMPL_ENOMEM;
  if (zones != NULL) {
    for (size_t i = 0; i < v->zones.count; i++)
      zones[i] = s->zones[settings_zone(&s->settings, settings_name_at(&v->zones, i))];
    err = view_new(v->name, zones, v->zones.count, out);
  }
  free(zones);
  return err ? diag_fail(diag, err, "view '%s': %s", v->name, smpl_strerror(err)) : SMPL_OK;
}

static int load_views(snapshot_t *s, diag_t *diag)
{
  s->views = calloc(s->settings.views.count + 1, sizeof(view_t *));
  s->chosen = calloc(s->settings.views.count + 1, sizeof *s->chosen);
  if (s->views == NULL || s->chosen == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < s->settings.views.count; i++) {
    const view_conf_t *v = settings_view_at(&s->settings, i);
    err = load_view(s, v, &s->views[i], diag);
    s->chosen[i] = (chosen_t){s->views[i], v->is_public ? (uint32_t)v->rate_limit : 0};
    s->view_count++;
  }
  return err;
}

static unsigned worker_count(const settings_t *settings)
{
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (settings->workers > 0)
    return (unsigned)settings->workers;
  return cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (unsigned)cores;
}

/* count items of zeroes that begin with a cache line. NULL when out of memory. */
static void *zeroed_lines(size_t count, size_t size)
{
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - CACHE_LINE)
    return NULL;
  bytes = (bytes / CACHE_LINE + 1) * CACHE_LINE;
  void *p = aligned_alloc(CACHE_LINE, bytes);
  if (p != NULL)
    memset(p, 0, bytes);
  return p;
}

static int make_counters(snapshot_t *s, diag_t *diag)
{
  size_t in_line = CACHE_LINE / sizeof(zone_stats_t);
  s->zone_stride = (s->zone_count / in_line + 1) * in_line;
  s->stats = zeroed_lines(s->workers * (s->view_count + 1), sizeof(stats_t));
  s->zone_stats = zeroed_lines(s->workers * s->zone_stride, sizeof(zone_stats_t));
  s->zone_past = calloc(s->zone_count + 1, sizeof *s->zone_past);
  if (s->stats == NULL || s->zone_stats == NULL || s->zone_past == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  return SMPL_OK;
}

static int load(const char *path, unsigned workers, bool at_start, snapshot_t **out, diag_t *diag)
{
  *out = NULL;
  snapshot_t *s = calloc(1, sizeof *s);
  if (s == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = settings_load(path, &s->settings, diag);
  if (!err)
    err = load_listeners(s, diag);
  if (!err)
    err = find_views_of_zones(s, diag);
  if (!err)
    err = load_zones(s, at_start, diag);
  if (!err)
    err = load_views(s, diag);
  if (!err) {
    s->workers = workers > 0 ? workers : worker_count(&s->settings);
    err = make_counters(s, diag);
  }
  if (err) {
    snapshot_free(s);
    return err;
  }
  *out = s;
  return SMPL_OK;
}

int snapshot_load(const char *path, unsigned workers, snapshot_t **out, diag_t *diag)
{
  return load(path, workers, false, out, diag);
}

int snapshot_load_start(const char *path, unsigned workers, snapshot_t **out, diag_t *diag)
{
  return load(path, workers, true, out, diag);
}

const snapshot_origin_t *snapshot_zone_origin(const snapshot_t *s, size_t i)
{
  return &s->origins[i];
}

size_t snapshot_count_from(const snapshot_t *s, snapshot_source_t source)
{
  size_t count = 0;
  for (size_t i = 0; i < s->zone_count; i++)
    count += s->origins[i].source == source;
  return count;
}

bool snapshot_all_from_files(const snapshot_t *s)
{
  return snapshot_count_from(s, SNAPSHOT_FILE) == s->zone_count;
}

/* ---- serials ---- */

static void warn_of_serial(const char *zone, uint32_t before, uint32_t now, bool other_data,
                           const char *where, void (*each)(void *ctx, const char *text), void *ctx)
{
  char text[512];
  if (zone_serial_after(before, now))
    snprintf(text, sizeof text, "zone '%.300s': its serial went back from %u to %u%s", zone, (unsigned)before,
             (unsigned)now, where);
  else if (before == now && other_data)
    snprintf(text, sizeof text, "zone '%.300s': other data with the same serial %u as before%s", zone,
             (unsigned)now, where);
  else
    return;
  each(ctx, text);
}

static bool other_data(const zone_t *a, const zone_t *b)
{
  uint8_t x[ZONE_DIGEST_LEN], y[ZONE_DIGEST_LEN];
  return !zone_is_same(a, b) && zone_digest(a, x) == SMPL_OK && zone_digest(b, y) == SMPL_OK &&
         memcmp(x, y, sizeof x) != 0;
}

void snapshot_serial_warnings(const snapshot_t *s, const snapshot_t *old,
                              void (*each)(void *ctx, const char *text), void *ctx)
{
  for (size_t i = 0; i < s->zone_count; i++) {
    size_t was = settings_zone(&old->settings, zone_name(s->zones[i]));
    if (was == SIZE_MAX || !zone_is_available(old->zones[was]) || !zone_is_available(s->zones[i]))
      continue;
    uint32_t before = zone_facts(old->zones[was]).serial;
    uint32_t now = zone_facts(s->zones[i]).serial;
    bool differs = before == now && other_data(s->zones[i], old->zones[was]);
    warn_of_serial(zone_name(s->zones[i]), before, now, differs, "", each, ctx);
  }
}

void snapshot_warn_of_copy(const snapshot_t *s, size_t i, void (*each)(void *ctx, const char *text),
                           void *ctx)
{
  const zone_t *z = s->zones[i];
  uint8_t digest[ZONE_DIGEST_LEN];
  uint32_t now = zone_facts(z).serial;
  char *path = copy_path(s, i);
  const zone_copy_views_t none = {NULL, 0};
  zone_copy_head_t copy;
  bool same_views;
  if (s->origins[i].source == SNAPSHOT_FILE && path != NULL &&
      zone_copy_peek(path, zone_name(z), &none, &copy, &same_views) == SMPL_OK) {
    bool differs = copy.serial == now && zone_digest(z, digest) == SMPL_OK &&
                   memcmp(digest, copy.digest, sizeof digest) != 0;
    warn_of_serial(zone_name(z), copy.serial, now, differs, " (of its last good copy)", each, ctx);
  }
  free(path);
}

void snapshot_free(snapshot_t *s)
{
  if (s == NULL)
    return;
  for (size_t i = 0; i < s->listener_count; i++)
    networks_free(s->listeners[i].networks);
  for (size_t i = 0; i < s->view_count; i++)
    view_free(s->views[i]);
  for (size_t i = 0; i < s->zone_count; i++) {
    zone_free(s->zones[i]);
    free(s->origins[i].why);
  }
  free(s->origins);
  free(s->views_of);
  free(s->view_list);
  free(s->listeners);
  free(s->views);
  free(s->chosen);
  free(s->zones);
  free(s->stats);
  free(s->zone_stats);
  free(s->zone_past);
  settings_free(&s->settings);
  free(s);
}

const settings_t *snapshot_settings(const snapshot_t *s)
{
  return &s->settings;
}

unsigned snapshot_workers(const snapshot_t *s)
{
  return s->workers;
}

size_t snapshot_listener_count(const snapshot_t *s)
{
  return s->listener_count;
}

endpoint_t snapshot_listener(const snapshot_t *s, size_t i)
{
  return s->listeners[i].endpoint;
}

const listener_conf_t *snapshot_listener_conf(const snapshot_t *s, size_t i)
{
  return s->listeners[i].conf;
}

size_t snapshot_listener_ranges(const snapshot_t *s, size_t i)
{
  return networks_ranges(s->listeners[i].networks);
}

size_t snapshot_zone_count(const snapshot_t *s)
{
  return s->zone_count;
}

const zone_t *snapshot_zone(const snapshot_t *s, size_t i)
{
  return s->zones[i];
}

size_t snapshot_view_count(const snapshot_t *s)
{
  return s->view_count;
}

const view_t *snapshot_view(const snapshot_t *s, size_t i)
{
  return s->views[i];
}

void snapshot_choose(const snapshot_t *s, size_t listener, const ip_t *peers, size_t count,
                     snapshot_view_t *out)
{
  const networks_t *networks = s->listeners[listener].networks;
  for (size_t i = 0; i < count; i++) {
    uint32_t value = networks_find(networks, &peers[i]);
    out[i].number = value == NETWORKS_NONE ? s->view_count : value;
    __builtin_prefetch(&s->chosen[out[i].number]);
  }
  for (size_t i = 0; i < count; i++) {
    out[i].view = s->chosen[out[i].number].view;
    __builtin_prefetch(out[i].view);
  }
}

uint64_t snapshot_generation(const snapshot_t *s)
{
  return s->generation;
}

void snapshot_follow(snapshot_t *s, const snapshot_t *old)
{
  s->generation = old->generation + 1;
}

uint32_t snapshot_rate_limit(const snapshot_t *s, size_t view)
{
  return s->chosen[view].rate;
}

stats_t *snapshot_stats(const snapshot_t *s, unsigned worker, size_t view)
{
  return &s->stats[worker * (s->view_count + 1) + view];
}

zone_stats_t *snapshot_zone_stats(const snapshot_t *s, unsigned worker, const zone_t *zone)
{
  return &s->zone_stats[worker * s->zone_stride + zone_number(zone)];
}

uint64_t snapshot_zone_queries(const snapshot_t *s, size_t zone)
{
  uint64_t sum = s->zone_past[zone];
  for (unsigned w = 0; w < s->workers; w++)
    sum += atomic_load_explicit(&s->zone_stats[w * s->zone_stride + zone], memory_order_relaxed);
  return sum;
}

void snapshot_inherit(snapshot_t *s, const snapshot_t *old)
{
  for (size_t i = 0; i < s->zone_count; i++) {
    size_t before = settings_zone(&old->settings, zone_name(s->zones[i]));
    s->zone_past[i] = before != SIZE_MAX ? snapshot_zone_queries(old, before) : 0;
  }
}

stats_sum_t snapshot_stats_sum(const snapshot_t *s, size_t view)
{
  stats_sum_t sum = {{0}};
  for (unsigned w = 0; w < s->workers; w++)
    stats_sum_add(&sum, snapshot_stats(s, w, view));
  return sum;
}
