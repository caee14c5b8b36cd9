/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration as it was read, with all that follows from it: immutable, and held by whoever uses a
 * part of it. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "app/program/built_in.h"
#include "app/http/internal_keys.h"
#include "app/program/settings.h"

typedef struct loaded {
  size_t holders;
  settings_t settings;
  listener_conf_t *listeners; /* settings.file->listeners.count of them */
  internal_keys_t *internal_keys;
} loaded_t;

/* Reads and checks everything, as the start does. Any thread. Every error is in diag with its place. */
int loaded_new(const char *path, const service_t *const *services, const built_in_t *built_in, loaded_t **out,
               diag_t *diag);
/* Loop's thread. */
loaded_t *loaded_hold(loaded_t *loaded);
/* One holder less. NULL allowed. Loop's thread. */
void loaded_free(loaded_t *loaded);

/* Names what differs between the two and needs a restart, with its place in fresh: a list of texts such as
 * "app.yaml:5:12: database"; empty if nothing does. NULL when out of memory. */
json_t *loaded_restart(const settings_t *start, const settings_t *fresh);
/* SMPL_EINVAL with the place if fresh is for another start altogether. */
int loaded_check(const settings_t *start, const settings_t *fresh, diag_t *diag);
/* Index in fresh of the http listener that this one of the start is, if its rules, address and kind are
 * the same: then its clients and hosts can take effect. -1: none. */
int loaded_listener(const listener_settings_t *start, const settings_t *fresh);
