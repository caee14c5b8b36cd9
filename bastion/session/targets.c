/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

enum {
  NAME_COST = 40, /* bytes around a name */
  ROW_COST = 220, /* bytes around a row's texts */
  PORT_COST = 6,
  NEAR_MAX = 2, /* edits between a name and the nearest one */
};

/* ---- the user's grants ---- */

/* Calls with each target pattern of a grant of the user's, in order, until it returns false. False if there
 * are more than TARGETS_ROWS_MAX. */
typedef bool (*row_cb)(void *ctx, size_t grant, const target_conf_t *target);

static bool each_row(const session_t *s, row_cb cb, void *ctx)
{
  const config_t *c = session_config(s);
  grant_subject_t subject;
  if (!identity_subject(&s->who, c, &subject))
    return true;
  const grant_conf_t *confs = c->grant_confs.items;
  size_t rows = 0;
  for (size_t g = 0; g < config_grant_count(c); g++) {
    const target_conf_t *targets = confs[g].targets.items;
    for (size_t t = 0; grant_covers_subject(&c->grants[g], &subject) && t < confs[g].targets.count; t++)
      if (rows++ == TARGETS_ROWS_MAX || !cb(ctx, g, &targets[t]))
        return rows <= TARGETS_ROWS_MAX;
  }
  return true;
}

static bool is_wild(const grant_pattern_t *p)
{
  return !p->is_ip && p->wild != GRANT_WILD_NONE && p->suffix[0] != '\0';
}

typedef struct domains {
  const char *list[CATALOG_GATHER_MAX];
  size_t count;
} domains_t;

static bool add_domain(void *ctx, size_t grant, const target_conf_t *target)
{
  (void)grant;
  domains_t *d = ctx;
  if (!is_wild(&target->pattern))
    return true;
  for (size_t i = 0; i < d->count; i++)
    if (strcmp(d->list[i], target->pattern.suffix) == 0)
      return true;
  if (d->count == CATALOG_GATHER_MAX)
    return false;
  d->list[d->count++] = target->pattern.suffix;
  return true;
}

void targets_gather(session_t *s, catalog_cb cb, void *ctx, catalog_gather_t **out)
{
  domains_t d = {.count = 0};
  each_row(s, add_domain, &d);
  catalog_gather(s->host->catalog, d.list, d.count, cb, ctx, out);
}

/* ---- the names of a row ---- */

/* false: enough. port 0: any. */
typedef bool (*name_cb)(void *ctx, const char *name, uint16_t port);

/* Whether one pattern alone covers the name with the port: the row it stands in. */
static bool in_row(const grant_pattern_t *p, const char *name, uint16_t port)
{
  const char *none = "";
  grant_t only = {.users = &none, .user_count = 1, .targets = p, .target_count = 1};
  grant_subject_t subject = {.user = none};
  grant_target_t target = {.name = name, .port = port};
  return grant_decide(&only, 1, &subject, &target).reason == REASON_NONE;
}

static bool is_granted(const session_t *s, const char *name, uint16_t port)
{
  char final[GRANT_NAME_MAX + 1], unused[GRANT_NAME_MAX];
  snprintf(final, sizeof final, "%s.", name);
  reason_t reason = finder_judge(session_config(s), s->who.user, final, port, unused).reason;
  return reason == REASON_NONE || reason == REASON_OUTSIDE_HOURS;
}

/* maybe, if not NULL, tells the few names that cb wants at all before they are judged. */
static void each_name(const session_t *s, const target_conf_t *row,
                      bool (*maybe)(void *ctx, const char *name), name_cb cb, void *ctx)
{
  const grant_pattern_t *p = &row->pattern;
  char text[IP_TEXT_MAX];
  if (!is_wild(p)) {
    bool names_itself = p->is_ip ? p->net.prefix == 128 : p->wild == GRANT_WILD_NONE;
    const char *name = p->is_ip ? ip_format(&p->net.base, text) : p->suffix;
    bool go_on = names_itself && (p->port_count > 0 || cb(ctx, name, 0));
    for (size_t i = 0; go_on && i < p->port_count; i++)
      go_on = cb(ctx, name, p->ports[i]);
    return;
  }
  size_t count;
  const catalog_name_t *names = catalog_names(s->host->catalog, p->suffix, &count);
  for (size_t i = 0; i < count; i++) {
    const catalog_name_t *n = &names[i];
    if ((maybe == NULL || maybe(ctx, n->name)) && in_row(p, n->name, n->port) &&
        is_granted(s, n->target, n->port) && !cb(ctx, n->name, n->port))
      return;
  }
}

/* ---- targets ---- */

typedef struct listing {
  const session_t *session;
  json_t *rows;
  json_t *names; /* of the row that is being made */
  size_t left;   /* bytes */
  bool truncated;
} listing_t;

static bool take(listing_t *l, size_t bytes)
{
  if (bytes > l->left) {
    l->truncated = true;
    return false;
  }
  l->left -= bytes;
  return true;
}

static bool list_name(void *ctx, const char *name, uint16_t port)
{
  listing_t *l = ctx;
  if (!take(l, strlen(name) + NAME_COST))
    return false;
  json_array_append_new(l->names, json_pack("{s:s, s:o}", "name", name, "port",
                                            port != 0 ? json_integer(port) : json_null()));
  return true;
}

static json_t *text_or_null(const char *text)
{
  return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static bool list_row(void *ctx, size_t grant, const target_conf_t *row)
{
  listing_t *l = ctx;
  const config_t *c = session_config(l->session);
  const grant_t *g = &c->grants[grant];
  char hours[CONFIG_HOURS_TEXT_MAX], pattern[GRANT_NAME_MAX + IP_NET_TEXT_MAX];
  const char *description = config_grant_description(c, grant);
  const char *colon = strrchr(row->text, ':');
  snprintf(pattern, sizeof pattern, "%.*s", (int)(colon - row->text), row->text);
  config_grant_hours(c, grant, hours);
  size_t cost =
      ROW_COST + strlen(pattern) + strlen(hours) + (description != NULL ? strlen(description) * 2 : 0);
  if (!take(l, cost + row->pattern.port_count * PORT_COST))
    return false;
  json_t *ports = json_array();
  for (size_t i = 0; i < row->pattern.port_count; i++)
    json_array_append_new(ports, json_integer(row->pattern.ports[i]));
  l->names = json_array();
  each_name(l->session, row, NULL, list_name, l);
  json_array_append_new(l->rows,
                        json_pack("{s:s, s:o, s:b, s:o, s:I, s:I, s:o, s:b, s:o}", "target", pattern, "ports",
                                  ports, "any_port", row->pattern.port_count == 0, "description",
                                  text_or_null(description), "idle_s", (json_int_t)(g->idle_ms / 1000),
                                  "session_s", (json_int_t)(g->session_ms / 1000), "hours",
                                  text_or_null(hours), "in_force",
                                  hours_cover(g->hours, g->hour_count, hours_now(NULL)), "names", l->names));
  return true;
}

json_t *targets_list(const session_t *s, size_t budget)
{
  listing_t l = {.session = s, .rows = json_array(), .left = budget};
  if (!each_row(s, list_row, &l))
    l.truncated = true;
  json_t *reply = json_pack("{s:b, s:o}", "ok", 1, "targets", l.rows);
  if (l.truncated)
    json_object_set_new(reply, "truncated", json_true());
  return reply;
}

/* ---- the nearest name ---- */

typedef struct search {
  const session_t *session;
  const char *asked;
  char *best;
  unsigned distance;
} search_t;

/* The asked name, as it stands below a searched domain, lacks labels that the other one has there: "config"
 * for "config.internal". */
bool targets_is_short_for(const char *asked, const char *domain, const char *name)
{
  if (!target_in_domain(asked, domain) || !target_in_domain(name, domain) || strlen(asked) <= strlen(domain))
    return false;
  size_t len = strlen(asked) - strlen(domain); /* with its last dot */
  return strlen(name) > strlen(asked) && strncmp(asked, name, len) == 0;
}

static bool is_short_for(const search_t *search, const char *name)
{
  const config_t *c = session_config(search->session);
  const char *const *domains = c->search.items;
  for (size_t i = 0; i < c->search.count; i++)
    if (targets_is_short_for(search->asked, domains[i], name))
      return true;
  return false;
}

/* How far from the asked name; NEAR_MAX + 1: too far. A missing label is as far as two letters. */
static unsigned distance_of(const search_t *search, const char *name)
{
  size_t a = strlen(search->asked), b = strlen(name);
  unsigned distance =
      a > b + NEAR_MAX || b > a + NEAR_MAX ? NEAR_MAX + 1 : text_distance(search->asked, name);
  return distance > NEAR_MAX && is_short_for(search, name) ? NEAR_MAX : distance;
}

static bool is_near(void *ctx, const char *name)
{
  const search_t *search = ctx;
  unsigned distance = distance_of(search, name);
  return distance > 0 && distance < search->distance;
}

static bool compare_name(void *ctx, const char *name, uint16_t port)
{
  (void)port;
  search_t *search = ctx;
  if (!is_near(search, name))
    return true;
  search->distance = distance_of(search, name);
  snprintf(search->best, GRANT_NAME_MAX, "%s", name);
  return search->distance > 1;
}

static bool compare_row(void *ctx, size_t grant, const target_conf_t *row)
{
  (void)grant;
  search_t *search = ctx;
  if (!row->pattern.is_ip)
    each_name(search->session, row, is_near, compare_name, search);
  return search->distance > 1;
}

bool targets_nearest(const session_t *s, const char *name, char *nearest)
{
  search_t search = {s, name, nearest, NEAR_MAX + 1};
  nearest[0] = '\0';
  if (name[0] != '\0')
    each_row(s, compare_row, &search);
  return nearest[0] != '\0';
}
