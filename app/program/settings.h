/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file of smpl-app: read, checked, and turned into what the http listeners need. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "app/program/built_in.h"
#include "app/program/settings_file.h"
#include "app/http/front.h"
#include "app/http/handler.h"
#include "app/http/internal_keys.h"
#include "common/conf/conf.h"
#include "common/base/diag.h"
#include "common/base/ip.h"
#include "common/dns/resolver_conf.h"

typedef struct settings {
  conf_t *conf;
  settings_file_t *file; /* as it is written; places in it are known to conf */
  const service_t *service;
  const char **sister_urls;      /* file->sisters, ending with NULL */
  internal_key_t *internal_keys; /* accepted */
  size_t internal_key_count;
  char internal_key[KEY_TEXT_MAX]; /* sent to sisters; empty: none */
  uint64_t rate_burst;             /* of one API key, at once */
} settings_t;

/* services ends with NULL. Every error is in diag as file:line:col: text. On success free with settings_free.
 */
int settings_load(const char *path, const service_t *const *services, settings_t *out, diag_t *diag);
/* Says what the service refuses to everybody, or will be refused by its sisters, for want of internal keys: a
 * sentence a call. */
void settings_each_warning(const settings_t *settings, void (*say)(void *ctx, const char *text), void *ctx);
/* Of these, what the service refuses to everybody. */
void settings_each_caller_warning(const settings_t *settings, void (*say)(void *ctx, const char *text),
                                  void *ctx);
/* Whether a database could be opened there, or made: its folder is there and writable, and what has its name
 * is a file. */
int settings_check_database(const settings_t *settings, diag_t *diag);
/* Whether the control socket could be opened: its folder is there, and nothing but a socket has its name. */
int settings_check_control(const settings_t *settings, diag_t *diag);
void settings_free(settings_t *settings);

/* What a service is opened with, but for loop and lookup; borrowed from settings. */
service_env_t settings_env(const settings_t *settings);

/* Builds each listener's table from the sources, reads its certificate and checks what follows (an internal
 * listener's address, its clients). *out has settings->file->listeners.count entries. */
int settings_listeners(const settings_t *settings, const route_source_t *sources, size_t source_count,
                       listener_conf_t **out, diag_t *diag);
/* listeners may be NULL. */
void settings_listeners_free(listener_conf_t *listeners, const settings_t *settings);
