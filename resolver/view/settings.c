/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/view/settings.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/conf/fixed.h"
#include "resolver/limits.h"
#include "resolver/view/names.h"

enum { WARNING_MAX = 1024, PLACE_MAX = 600 };

static const conf_field_t listener_fields[] = {
    {"address", CONF_ONE, offsetof(listener_conf_t, address), .scalar = &conf_ip, .required = true,
     .fixed = true, .doc = "the address to answer on, over UDP and TCP"},
    {"port", CONF_ONE, offsetof(listener_conf_t, port), .scalar = &conf_uint, .min = 1, .max = UINT16_MAX,
     .fixed = true, .doc = "the port to answer on"},
    {"views", CONF_MANY, offsetof(listener_conf_t, views), .scalar = &conf_string, .required = true,
     .most = VIEWS_MAX,
     .doc = "the views to choose from here; the most specific network of a client decides"},
};

static void listener_defaults(void *out)
{
  listener_conf_t *l = out;
  l->port = 53;
}

static const conf_map_t listener_map = {"listener", sizeof(listener_conf_t), listener_fields,
                                        COUNT_OF(listener_fields), listener_defaults};

static const conf_field_t view_fields[] = {
    {"name", CONF_ONE, offsetof(view_conf_t, name), .scalar = &conf_string, .required = true,
     .doc = "the view's name"},
    {"clients", CONF_MANY, offsetof(view_conf_t, clients), .scalar = &conf_ip_net, .required = true,
     .doc = "the networks whose clients have the view"},
    {"zones", CONF_MANY, offsetof(view_conf_t, zones), .scalar = &conf_string, .allow_empty = true,
     .doc = "the zones that these clients see; without one every question is refused"},
    {"public", CONF_ONE, offsetof(view_conf_t, is_public), .scalar = &conf_bool,
     .doc = "whether rate_limit bounds the answers over UDP"},
    {"rate_limit", CONF_ONE, offsetof(view_conf_t, rate_limit), .scalar = &conf_uint, .min = 1,
     .max = RATE_MAX, .doc = "how many answers of one kind a worker gives one network a second"},
};

static void view_defaults(void *out)
{
  view_conf_t *v = out;
  v->rate_limit = RATE_DEFAULT;
}

static const conf_map_t view_map = {"view", sizeof(view_conf_t), view_fields, COUNT_OF(view_fields),
                                    view_defaults};

static int parse_on_missing(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  (void)len;
  on_missing_t *how = out;
  *how = strcmp(text, "base") == 0 ? ON_MISSING_BASE : ON_MISSING_NXDOMAIN;
  return *how == ON_MISSING_BASE || strcmp(text, "nxdomain") == 0 ? SMPL_OK : SMPL_EINVAL;
}

static const conf_scalar_t on_missing_scalar = {
    .expected = "nxdomain or base",
    .size = sizeof(on_missing_t),
    .parse = parse_on_missing,
    .same = conf_same_bytes,
};

static const conf_field_t zone_fields[] = {
    {"name", CONF_ONE, offsetof(zone_conf_t, name), .scalar = &conf_string, .required = true,
     .doc = "the origin; ORIGIN@TAG where views have different data for one origin"},
    {"file", CONF_ONE, offsetof(zone_conf_t, file), .scalar = &conf_path, .required = true,
     .doc = "the master file"},
    {"on_missing", CONF_ONE, offsetof(zone_conf_t, on_missing), .scalar = &on_missing_scalar,
     .doc = "what answers for names that the zone lacks: nxdomain (the default), or its base"},
    {"base", CONF_ONE, offsetof(zone_conf_t, base), .scalar = &conf_string,
     .doc = "the zone of the same origin that answers for them"},
};

static const conf_map_t zone_map = {"zone", sizeof(zone_conf_t), zone_fields, COUNT_OF(zone_fields), NULL};

static const conf_field_t query_log_fields[] = {
    {"file", CONF_ONE, offsetof(query_log_conf_t, file), .scalar = &conf_path, .required = true,
     .doc = "the file that gets a line of JSON for each answer"},
    {"sample", CONF_ONE, offsetof(query_log_conf_t, sample), .scalar = &conf_uint, .min = 1,
     .max = QUERY_LOG_SAMPLE_MAX, .doc = "one of so many answers of a worker is written"},
};

static void query_log_defaults(void *out)
{
  query_log_conf_t *q = out;
  q->sample = 1;
}

static const conf_map_t query_log_map = {"query_log", sizeof(query_log_conf_t), query_log_fields,
                                         COUNT_OF(query_log_fields), query_log_defaults};

static const conf_field_t settings_fields[] = {
    {"listeners", CONF_MAPS, offsetof(settings_t, listeners), .map = &listener_map, .required = true,
     .most = LISTENERS_MAX, .doc = "where questions are answered"},
    {"views", CONF_MAPS, offsetof(settings_t, views), .map = &view_map, .required = true, .most = VIEWS_MAX,
     .doc = "who sees which zones"},
    {"zones", CONF_MAPS, offsetof(settings_t, zones), .map = &zone_map, .allow_empty = true,
     .most = ZONES_MAX, .doc = "the zones, and where they are read from"},
    {"control", CONF_ONE, offsetof(settings_t, control), .scalar = &conf_path, .fixed = true,
     .doc = "the control socket (default: resolver.sock beside this file)"},
    {"workers", CONF_ONE, offsetof(settings_t, workers), .scalar = &conf_uint, .min = 1, .max = WORKERS_MAX,
     .fixed = true, .doc = "how many threads answer; one a core unless given"},
    {"metrics", CONF_ONE_OR_MAP, offsetof(settings_t, metrics), .map = &metrics_conf_map, .fixed = true,
     .doc = "where Prometheus reads the metrics; nowhere unless given"},
    {"query_log", CONF_MAP, offsetof(settings_t, query_log), .map = &query_log_map, .fixed = true,
     .doc = "a log of the answers; none unless given"},
    {"user", CONF_ONE, offsetof(settings_t, user), .scalar = &conf_string, .fixed = true,
     .doc = "the account that the process becomes once everything is bound"},
    {"pin", CONF_ONE, offsetof(settings_t, pin), .scalar = &conf_bool, .fixed = true,
     .doc = "whether each worker stays on a processor of its own"},
    {"watch", CONF_ONE, offsetof(settings_t, watch), .scalar = &conf_bool,
     .doc = "whether a change of this file or of a zone file causes a reload"},
    {"state", CONF_ONE, offsetof(settings_t, state), .scalar = &conf_path, .fixed = true,
     .doc = "a folder for the last good copies of zones; none are kept unless given"},
    {"free_bind", CONF_ONE, offsetof(settings_t, free_bind), .scalar = &conf_bool, .fixed = true,
     .doc = "whether addresses that this machine does not have yet are bound"},
    {"core_dumps", CONF_ONE, offsetof(settings_t, core_dumps), .scalar = &conf_bool, .fixed = true,
     .doc = "whether a crash may leave a core dump, with all zones and secrets in it"},
};

static void settings_defaults(void *out)
{
  ((settings_t *)out)->free_bind = true;
}

const conf_map_t settings_map = {"resolver", sizeof(settings_t), settings_fields, COUNT_OF(settings_fields),
                                 settings_defaults};

static bool has_listener(const settings_t *s, const listener_conf_t *l)
{
  for (size_t i = 0; i < s->listeners.count; i++) {
    const listener_conf_t *other = settings_listener_at(s, i);
    if (ip_equal(&other->address, &l->address) && other->port == l->port)
      return true;
  }
  return false;
}

typedef struct fixed {
  const settings_t *is;
  diag_t *diag;
  int err;
} fixed_t;

/* Listeners may change their order: those that are only somewhere else now are the same. */
static void found_fixed(void *ctx, const conf_field_t *field, const void *at)
{
  fixed_t *f = ctx;
  bool of_listener = field >= listener_fields && field < listener_fields + COUNT_OF(listener_fields);
  if (!f->err && !of_listener)
    f->err = conf_fail(f->is->conf, f->diag, at, "%s: a change needs a restart", field->key);
}

int settings_check_fixed(const settings_t *was, const settings_t *is, diag_t *diag)
{
  fixed_t f = {is, diag, SMPL_OK};
  for (size_t i = 0; i < is->listeners.count; i++) {
    const listener_conf_t *l = settings_listener_at(is, i);
    if (!has_listener(was, l))
      return conf_fail(is->conf, diag, &l->address, "listeners: another address or port needs a restart");
  }
  conf_fixed_each(&settings_map, was, is, found_fixed, &f);
  return f.err;
}

size_t settings_view(const settings_t *settings, const char *name)
{
  return names_find(settings->view_names, name);
}

size_t settings_zone(const settings_t *settings, const char *name)
{
  return names_find(settings->zone_names, name);
}

static const char *view_name_at(const void *list, size_t i)
{
  return ((const view_conf_t *)list)[i].name;
}

static const char *zone_name_at(const void *list, size_t i)
{
  return ((const zone_conf_t *)list)[i].name;
}

int settings_origin(const char *zone_name, dns_name_t *out)
{
  char text[DNS_NAME_TEXT_MAX];
  const char *at = strchr(zone_name, '@');
  size_t len = at != NULL ? (size_t)(at - zone_name) : strlen(zone_name);
  if (len >= sizeof text || (at != NULL && (at[1] == '\0' || strchr(at + 1, '@') != NULL)))
    return SMPL_EINVAL;
  memcpy(text, zone_name, len);
  text[len] = '\0';
  int err = dns_name_from_text(text, out);
  if (!err)
    dns_name_lower(out);
  return err;
}

static int check_duplicates(const settings_t *s, diag_t *diag)
{
  char place[PLACE_MAX];
  size_t first;
  size_t i = names_duplicate(s->view_names, &first);
  if (i != SIZE_MAX)
    return conf_fail(s->conf, diag, &settings_view_at(s, i)->name, "view '%s' stands at %s already",
                     settings_view_at(s, i)->name,
                     conf_place(s->conf, &settings_view_at(s, first)->name, place, sizeof place));
  i = names_duplicate(s->zone_names, &first);
  if (i != SIZE_MAX)
    return conf_fail(
        s->conf, diag, &settings_zone_at(s, i)->name,
        "zone '%s' stands at %s already: different data for one origin are told apart by a tag, NAME@TAG",
        settings_zone_at(s, i)->name,
        conf_place(s->conf, &settings_zone_at(s, first)->name, place, sizeof place));
  return SMPL_OK;
}

/* The base of an overlay: there, of the same origin, and no overlay. */
static int check_base(const settings_t *s, const zone_conf_t *z, const dns_name_t *origin, diag_t *diag)
{
  dns_name_t other;
  if (z->base == NULL && z->on_missing == ON_MISSING_BASE)
    return conf_fail(s->conf, diag, &z->on_missing,
                     "zone '%s': expected base: NAME@TAG beside on_missing: base", z->name);
  if (z->base == NULL)
    return SMPL_OK;
  if (z->on_missing != ON_MISSING_BASE)
    return conf_fail(s->conf, diag, &z->base, "zone '%s': a base is only used with on_missing: base",
                     z->name);
  size_t at = settings_zone(s, z->base);
  if (at == SIZE_MAX)
    return conf_fail(s->conf, diag, &z->base, "zone '%s': no zone '%s' under zones", z->name, z->base);
  if (settings_origin(z->base, &other) || !dns_name_equal(origin, &other))
    return conf_fail(s->conf, diag, &z->base, "zone '%s': base '%s' has another origin", z->name, z->base);
  if (settings_zone_at(s, at)->on_missing == ON_MISSING_BASE)
    return conf_fail(s->conf, diag, &z->base,
                     "zone '%s': base '%s' has a base itself: expected a zone that stands alone", z->name,
                     z->base);
  return SMPL_OK;
}

static int check_zones(const settings_t *s, diag_t *diag)
{
  for (size_t i = 0; i < s->zones.count; i++) {
    const zone_conf_t *z = settings_zone_at(s, i);
    dns_name_t origin;
    if (settings_origin(z->name, &origin))
      return conf_fail(s->conf, diag, &z->name, "expected a zone's name or NAME@TAG, got '%s'", z->name);
    int err = check_base(s, z, &origin, diag);
    if (err)
      return err;
  }
  return SMPL_OK;
}

typedef struct view_origin {
  dns_name_t origin;
  size_t position; /* in the view's list */
} view_origin_t;

static int origin_compare(const void *left, const void *right)
{
  const view_origin_t *a = left;
  const view_origin_t *b = right;
  int c = (a->origin.len > b->origin.len) - (a->origin.len < b->origin.len);
  if (c == 0)
    c = memcmp(a->origin.wire, b->origin.wire, a->origin.len);
  return c != 0 ? c : (a->position > b->position) - (a->position < b->position);
}

/* The zones a view names exist, and no two have one origin; only what is public has a limit. */
static int check_view(const settings_t *s, const view_conf_t *v, diag_t *diag)
{
  if (!v->is_public && conf_given(s->conf, &v->rate_limit))
    return conf_fail(s->conf, diag, &v->rate_limit, "view '%s': rate_limit is only used with public: true",
                     v->name);
  char place[PLACE_MAX];
  size_t count = v->zones.count;
  view_origin_t *origins = calloc(count + 1, sizeof *origins);
  if (origins == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < count; i++) {
    const char *name = settings_name_at(&v->zones, i);
    origins[i].position = i;
    settings_origin(name, &origins[i].origin);
    if (settings_zone(s, name) == SIZE_MAX)
      err = conf_fail(s->conf, diag, (const char *const *)v->zones.items + i,
                      "view '%s': no zone '%s' under zones", v->name, name);
  }
  if (!err)
    qsort(origins, count, sizeof *origins, origin_compare);
  for (size_t i = 1; !err && i < count; i++) {
    if (!dns_name_equal(&origins[i].origin, &origins[i - 1].origin))
      continue;
    const char *const *items = v->zones.items;
    err = conf_fail(s->conf, diag, items + origins[i].position,
                    "view '%s': '%s' has the same origin as '%s' at %s", v->name, items[origins[i].position],
                    items[origins[i - 1].position],
                    conf_place(s->conf, items + origins[i - 1].position, place, sizeof place));
  }
  free(origins);
  return err;
}

static int check_listener(const settings_t *s, size_t at, diag_t *diag)
{
  const listener_conf_t *l = settings_listener_at(s, at);
  char place[PLACE_MAX];
  char text[IP_TEXT_MAX];
  for (size_t i = 0; i < at; i++) {
    const listener_conf_t *other = settings_listener_at(s, i);
    if (ip_equal(&other->address, &l->address) && other->port == l->port)
      return conf_fail(s->conf, diag, &l->address, "dns listener on %s port %u stands at %s already",
                       ip_format(&l->address, text), (unsigned)l->port,
                       conf_place(s->conf, &other->address, place, sizeof place));
  }
  bool *used = calloc(s->views.count + 1, sizeof *used);
  if (used == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < l->views.count; i++) {
    const char *name = settings_name_at(&l->views, i);
    const void *field = (const char *const *)l->views.items + i;
    size_t v = settings_view(s, name);
    if (v == SIZE_MAX)
      err = conf_fail(s->conf, diag, field, "no view '%s' under views", name);
    else if (used[v])
      err = conf_fail(s->conf, diag, field, "view '%s' stands twice in this listener", name);
    else
      used[v] = true;
  }
  free(used);
  return err;
}

static int check(settings_t *s, diag_t *diag)
{
  s->view_names = names_new(s->views.items, s->views.count, view_name_at);
  s->zone_names = names_new(s->zones.items, s->zones.count, zone_name_at);
  if (s->view_names == NULL || s->zone_names == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = metrics_conf_check(s->conf, &s->metrics, diag);
  if (!err)
    err = check_duplicates(s, diag);
  if (!err)
    err = check_zones(s, diag);
  for (size_t i = 0; !err && i < s->views.count; i++)
    err = check_view(s, settings_view_at(s, i), diag);
  for (size_t i = 0; !err && i < s->listeners.count; i++)
    err = check_listener(s, i, diag);
  return err;
}

/* resolver.sock beside the configuration file, unless it says otherwise. */
static int default_control(settings_t *s, const char *path, diag_t *diag)
{
  if (s->control != NULL)
    return SMPL_OK;
  const char *slash = strrchr(path, '/');
  size_t folder = slash != NULL ? (size_t)(slash - path) + 1 : 0;
  static const char name[] = "resolver.sock";
  char *p = conf_alloc(s->conf, folder + sizeof name);
  if (p == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  memcpy(p, path, folder);
  memcpy(p + folder, name, sizeof name);
  s->control = p;
  return SMPL_OK;
}

/* Takes over conf, also on error. */
static int finish(settings_t *out, conf_t *conf, diag_t *diag)
{
  out->conf = conf;
  out->metrics.free_bind = out->free_bind;
  int err = default_control(out, conf_path_of(conf), diag);
  if (!err)
    err = check(out, diag);
  if (err)
    settings_free(out);
  return err;
}

int settings_load(const char *path, settings_t *out, diag_t *diag)
{
  conf_t *conf;
  int err = conf_load(path, &settings_map, out, &conf, diag);
  return err ? err : finish(out, conf, diag);
}

int settings_parse(const char *path, const char *text, size_t len, settings_t *out, diag_t *diag)
{
  conf_t *conf;
  int err = conf_parse(path, text, len, &settings_map, out, &conf, diag);
  return err ? err : finish(out, conf, diag);
}

void settings_free(settings_t *settings)
{
  if (settings == NULL)
    return;
  names_free(settings->view_names);
  names_free(settings->zone_names);
  conf_free(settings->conf);
  *settings = (settings_t){0};
}

bool settings_view_is_private(const view_conf_t *v)
{
  for (size_t i = 0; i < v->clients.count; i++) {
    const ip_net_t *net = settings_client_at(v, i);
    ip_net_t last = *net;
    for (unsigned bit = net->prefix; bit < 128; bit++)
      last.base.b[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
    if (!ip_is_private(&net->base) || !ip_is_private(&last.base))
      return false;
  }
  return true;
}

static void warn_mixed(const settings_t *s, const listener_conf_t *l,
                       void (*each)(void *ctx, const char *text), void *ctx)
{
  const view_conf_t *secret = NULL;
  const view_conf_t *open = NULL;
  char text[WARNING_MAX];
  char place[PLACE_MAX];
  for (size_t i = 0; i < l->views.count; i++) {
    const view_conf_t *v = settings_view_at(s, settings_view(s, settings_name_at(&l->views, i)));
    if (settings_view_is_private(v))
      secret = v;
    else
      open = v;
  }
  if (secret == NULL || open == NULL || ip_is_loopback(&l->address))
    return;
  snprintf(text, sizeof text,
           "%s: private view '%.60s' and public view '%.60s' share a dns listener that is not on loopback: a "
           "forged source "
           "address is asked as a private client; give each its own listener",
           conf_place(s->conf, &l->address, place, sizeof place), secret->name, open->name);
  each(ctx, text);
}

static void use_zone(const settings_t *s, size_t zone, bool *used)
{
  const zone_conf_t *z = settings_zone_at(s, zone);
  used[zone] = true;
  if (z->base != NULL)
    used[settings_zone(s, z->base)] = true;
}

void settings_warnings(const settings_t *settings, void (*each)(void *ctx, const char *text), void *ctx)
{
  const settings_t *s = settings;
  char text[WARNING_MAX];
  char place[PLACE_MAX];
  bool *used_views = calloc(s->views.count + 1, sizeof *used_views);
  bool *used_zones = calloc(s->zones.count + 1, sizeof *used_zones);
  if (used_views == NULL || used_zones == NULL)
    goto out;
  if (s->metrics.address.port != 0 && !ip_is_private(&s->metrics.address.ip)) {
    snprintf(text, sizeof text, "%s: metrics name views and zones to everybody who can reach this address",
             conf_place(s->conf, &s->metrics, place, sizeof place));
    each(ctx, text);
  }
  for (size_t i = 0; i < s->listeners.count; i++) {
    const listener_conf_t *l = settings_listener_at(s, i);
    warn_mixed(s, l, each, ctx);
    for (size_t j = 0; j < l->views.count; j++)
      used_views[settings_view(s, settings_name_at(&l->views, j))] = true;
  }
  for (size_t i = 0; i < s->views.count; i++) {
    const view_conf_t *v = settings_view_at(s, i);
    for (size_t j = 0; j < v->zones.count; j++)
      use_zone(s, settings_zone(s, settings_name_at(&v->zones, j)), used_zones);
    if (used_views[i])
      continue;
    snprintf(text, sizeof text, "%s: no dns listener has view '%.100s'",
             conf_place(s->conf, &v->name, place, sizeof place), v->name);
    each(ctx, text);
  }
  for (size_t i = 0; i < s->zones.count; i++) {
    if (used_zones[i])
      continue;
    snprintf(text, sizeof text, "%s: no view has zone '%.300s'",
             conf_place(s->conf, &settings_zone_at(s, i)->name, place, sizeof place),
             settings_zone_at(s, i)->name);
    each(ctx, text);
  }
out:
  free(used_views);
  free(used_zones);
}
