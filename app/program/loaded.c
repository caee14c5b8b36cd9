/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/loaded.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"

int loaded_new(const char *path, const service_t *const *services, const built_in_t *built_in, loaded_t **out,
               diag_t *diag)
{
  route_source_t sources[SERVICE_SOURCES];
  *out = NULL;
  loaded_t *l = calloc(1, sizeof *l);
  if (l == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  l->holders = 1;
  int err = settings_load(path, services, &l->settings, diag);
  if (!err) {
    built_in_sources(built_in, l->settings.service, NULL, sources);
    err = settings_listeners(&l->settings, sources, SERVICE_SOURCES, &l->listeners, diag);
  }
  if (!err) {
    l->internal_keys = internal_keys_new(l->settings.internal_keys, l->settings.internal_key_count);
    err = l->internal_keys == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory") : SMPL_OK;
  }
  if (err)
    loaded_free(l);
  else
    *out = l;
  return err;
}

loaded_t *loaded_hold(loaded_t *l)
{
  l->holders++;
  return l;
}

void loaded_free(loaded_t *l)
{
  if (l == NULL || --l->holders > 0)
    return;
  settings_listeners_free(l->listeners, l->settings.listeners.count);
  internal_keys_free(l->internal_keys);
  settings_free(&l->settings);
  free(l);
}

/* What each key does */

static bool same_text(const char *a, const char *b)
{
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_service(const settings_t *a, const settings_t *b)
{
  return a->service == b->service;
}

static bool same_revocations(const settings_t *a, const settings_t *b)
{
  return same_text(a->revocations, b->revocations);
}

static bool same_database(const settings_t *a, const settings_t *b)
{
  return same_text(a->database, b->database);
}

static bool same_core_dumps(const settings_t *a, const settings_t *b)
{
  return a->core_dumps == b->core_dumps;
}

static bool same_free_bind(const settings_t *a, const settings_t *b)
{
  return a->free_bind == b->free_bind;
}

static bool same_control(const settings_t *a, const settings_t *b)
{
  return same_text(a->control, b->control);
}

/* Every key of the file stands here once. Of listeners, clients, hosts and certificates are live. */
static const struct change {
  const char *key;
  loaded_change_t change;
  bool (*same)(const settings_t *a, const settings_t *b); /* of what is not live; NULL: looked at by itself */
} changes[] = {
    {"service", CHANGE_REFUSED, same_service},
    {"listeners", CHANGE_RESTART, NULL},
    {"balancers", CHANGE_LIVE, NULL},
    {"database", CHANGE_RESTART, same_database},
    {"revocations", CHANGE_RESTART, same_revocations},
    {"accounts", CHANGE_LIVE, NULL},
    {"sisters", CHANGE_LIVE, NULL},
    {"resolver", CHANGE_LIVE, NULL},
    {"internal_keys", CHANGE_LIVE, NULL},
    {"internal_key_file", CHANGE_LIVE, NULL},
    {"access_log", CHANGE_LIVE, NULL},
    {"free_bind", CHANGE_RESTART, same_free_bind},
    {"core_dumps", CHANGE_RESTART, same_core_dumps},
    {"control", CHANGE_RESTART, same_control},
    {"rate_limit", CHANGE_LIVE, NULL},
    {"drain", CHANGE_LIVE, NULL},
};

enum { CHANGES = sizeof changes / sizeof *changes };

int loaded_change_of(const char *key)
{
  for (size_t i = 0; i < CHANGES; i++)
    if (strcmp(changes[i].key, key) == 0)
      return (int)changes[i].change;
  return -1;
}

int loaded_check(const settings_t *start, const settings_t *fresh, diag_t *diag)
{
  for (size_t i = 0; i < CHANGES; i++)
    if (changes[i].change == CHANGE_REFUSED && !changes[i].same(start, fresh))
      return diag_fail(diag, SMPL_EINVAL, "%s: this process is the %s service: another one needs a restart",
                       fresh->service_place, start->service->name);
  return SMPL_OK;
}

/* Http listeners */

static bool same_address(const listener_settings_t *a, const listener_settings_t *b)
{
  return ip_equal(&a->address.ip, &b->address.ip) && a->address.port == b->address.port;
}

static bool same_rules(const listener_settings_t *a, const listener_settings_t *b)
{
  const rule_t *x = a->rules.items, *y = b->rules.items;
  bool same = a->rules.count == b->rules.count;
  for (size_t i = 0; same && i < a->rules.count; i++)
    same = strcmp(x[i].text, y[i].text) == 0;
  return same;
}

static bool same_tls(const listener_settings_t *a, const listener_settings_t *b)
{
  return (a->tls.certificate != NULL) == (b->tls.certificate != NULL);
}

/* The listener of that name; NULL: there is none. */
static const listener_settings_t *named(const settings_t *settings, const char *name)
{
  const listener_settings_t *all = settings->listeners.items;
  for (size_t i = 0; i < settings->listeners.count; i++)
    if (strcmp(all[i].name, name) == 0)
      return &all[i];
  return NULL;
}

int loaded_listener(const listener_settings_t *start, const settings_t *fresh)
{
  const listener_settings_t *found = named(fresh, start->name);
  if (found == NULL || !same_address(start, found) || !same_rules(start, found) || !same_tls(start, found))
    return -1;
  return (int)(found - (const listener_settings_t *)fresh->listeners.items);
}

static void add(json_t *list, const char *what, const char *of)
{
  json_array_append_new(list, json_sprintf("%s%s%s", what, of[0] != '\0' ? " of http listener " : "", of));
}

static void compare_listener(json_t *list, const listener_settings_t *was, const settings_t *fresh)
{
  const listener_settings_t *is = named(fresh, was->name);
  if (is == NULL) {
    json_array_append_new(list, json_sprintf("the end of http listener %s", was->name));
    return;
  }
  if (!same_address(was, is))
    add(list, "address", was->name);
  if (!same_rules(was, is))
    add(list, "rules", was->name);
  if (!same_tls(was, is))
    add(list, "tls", was->name);
}

json_t *loaded_restart(const settings_t *start, const settings_t *fresh)
{
  const listener_settings_t *was = start->listeners.items, *is = fresh->listeners.items;
  json_t *list = json_array();
  for (size_t i = 0; list != NULL && i < CHANGES; i++)
    if (changes[i].change == CHANGE_RESTART && changes[i].same != NULL && !changes[i].same(start, fresh))
      add(list, changes[i].key, "");
  for (size_t i = 0; list != NULL && i < start->listeners.count; i++)
    compare_listener(list, &was[i], fresh);
  for (size_t i = 0; list != NULL && i < fresh->listeners.count; i++)
    if (named(start, is[i].name) == NULL)
      json_array_append_new(list, json_sprintf("the new http listener %s", is[i].name));
  return list;
}
