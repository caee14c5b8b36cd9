/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/loaded.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/conf/fixed.h"

enum { LISTENER_KEY_MAX = 32 };

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
  settings_listeners_free(l->listeners, &l->settings);
  internal_keys_free(l->internal_keys);
  settings_free(&l->settings);
  free(l);
}

/* What a reload cannot change: the rows that are fixed, and the set of listeners */

int loaded_check(const settings_t *start, const settings_t *fresh, diag_t *diag)
{
  if (start->service == fresh->service)
    return SMPL_OK;
  return conf_fail(fresh->conf, diag, &fresh->file->service,
                   "this process is the %s service: another one needs a restart", start->service->name);
}

/* Its certificates may change, but not whether it has one. */
static bool same_tls(const listener_settings_t *a, const listener_settings_t *b)
{
  return (a->tls.certificate != NULL) == (b->tls.certificate != NULL);
}

/* The listener of that name; NULL: there is none. */
static const listener_settings_t *named(const settings_t *settings, const char *name)
{
  const listener_settings_t *all = settings->file->listeners.items;
  for (size_t i = 0; i < settings->file->listeners.count; i++)
    if (strcmp(all[i].name, name) == 0)
      return &all[i];
  return NULL;
}

int loaded_listener(const listener_settings_t *start, const settings_t *fresh)
{
  const listener_settings_t *found = named(fresh, start->name);
  if (found == NULL || conf_fixed_each(&settings_listener_map, start, found, NULL, NULL) > 0 ||
      !same_tls(start, found))
    return -1;
  return (int)(found - (const listener_settings_t *)fresh->file->listeners.items);
}

typedef struct differences {
  const settings_t *fresh;
  json_t *list;
  const char *listener; /* the one that is compared now */
} differences_t;

/* "FILE:LINE:COLUMN: WHAT[ http listener NAME]" */
static void add(const differences_t *d, const void *at, const char *what, const char *listener)
{
  char place[DIAG_TEXT_MAX];
  bool of_listener = listener != NULL;
  json_t *text = json_sprintf("%s: %s%s%s", conf_place(d->fresh->conf, at, place, sizeof place), what,
                              of_listener ? " http listener " : "", of_listener ? listener : "");
  json_array_append_new(d->list, text);
}

/* Listeners have their own comparison: by name, not by where they stand. */
static void on_key(void *ctx, const conf_field_t *field, const void *at)
{
  const conf_map_t *of = &settings_listener_map;
  bool of_listener = field->map == of || (field >= of->fields && field < of->fields + of->count);
  if (!of_listener)
    add(ctx, at, field->key, NULL);
}

static void on_listener_key(void *ctx, const conf_field_t *field, const void *at)
{
  const differences_t *d = ctx;
  char what[LISTENER_KEY_MAX];
  snprintf(what, sizeof what, "%s of", field->key);
  add(d, at, what, d->listener);
}

static void compare_listener(differences_t *d, const listener_settings_t *was)
{
  const listener_settings_t *is = named(d->fresh, was->name);
  d->listener = was->name;
  if (is == NULL) {
    add(d, &d->fresh->file->listeners, "the end of", was->name);
    return;
  }
  conf_fixed_each(&settings_listener_map, was, is, on_listener_key, d);
  if (!same_tls(was, is))
    add(d, &is->tls, "tls of", was->name);
}

json_t *loaded_restart(const settings_t *start, const settings_t *fresh)
{
  const listener_settings_t *was = start->file->listeners.items, *is = fresh->file->listeners.items;
  differences_t d = {.fresh = fresh, .list = json_array()};
  if (d.list == NULL)
    return NULL;
  conf_fixed_each(&settings_file_map, start->file, fresh->file, on_key, &d);
  for (size_t i = 0; i < start->file->listeners.count; i++)
    compare_listener(&d, &was[i]);
  for (size_t i = 0; i < fresh->file->listeners.count; i++)
    if (named(start, is[i].name) == NULL)
      add(&d, &is[i].name, "the new", is[i].name);
  return d.list;
}
