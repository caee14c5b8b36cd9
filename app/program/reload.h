/* SPDX-License-Identifier: Apache-2.0 */
/* Putting another configuration in force while the service runs: read by a thread, checked, and then swapped
 * between two turns of the loop, so that no request is decided by half of each. It names changes that cannot
 * take effect. A mistake changes nothing. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#include "app/limits.h"
#include "app/http/access.h"
#include "app/program/built_in.h"
#include "app/http/handler.h"
#include "app/program/settings.h"
#include "app/program/walls.h"
#include "common/net/control.h"
#include "common/dns/lookup.h"
#include "common/process/notify.h"

_Static_assert((int)RELOAD_WAITING_MAX >= (int)CONTROL_CLIENTS_MAX, "each connection has a place");

typedef struct reload reload_t;

/* All borrowed until reload_free. */
typedef struct reload_conf {
  uv_loop_t *loop;
  const char *path;
  const service_t *const *services;
  const settings_t *start;          /* what the process was started by */
  const listener_conf_t *listeners; /* likewise: their tables, addresses and TLS stay */
  const built_in_t *built_in;
  const walls_t *walls;
  access_log_t *access;
  front_t *front;
  program_t *program; /* its service, and what it tells of reloads */
  lookup_t **lookup;  /* the present one, replaced where the resolver is another; NULL in it: none */
  notify_t *notify;
} reload_conf_t;

/* NULL when out of memory. */
reload_t *reload_new(const reload_conf_t *conf);
/* Reads the file and puts it in force; opens the access log anew in any case. The request is answered then,
 * NULL: nobody waits. One at a time: a caller that asks meanwhile gets the outcome of the next. */
void reload_ask(reload_t *reload, control_request_t *request);
/* Answers who waits; nothing takes effect any more. */
void reload_stop(reload_t *reload);
/* Once the loop has ended. NULL allowed. */
void reload_free(reload_t *reload);

/* The configuration in force, of what can change. */
const settings_t *reload_settings(const reload_t *reload);
/* Of the last reload: why it failed, "" if it did not; a list of what needs a restart (borrowed). */
const char *reload_error(const reload_t *reload);
const json_t *reload_restart(const reload_t *reload);
