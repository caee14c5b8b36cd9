/* SPDX-License-Identifier: Apache-2.0 */
/* resolver.yaml: what may stand in it and what must agree within it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf/conf.h"
#include "common/base/diag.h"
#include "common/dns/dns_wire.h"
#include "common/base/ip.h"
#include "common/net/metrics_conf.h"

typedef struct listener_conf {
  ip_t address;
  uint64_t port;
  conf_list_t views; /* const char *: names of views */
} listener_conf_t;

typedef struct view_conf {
  const char *name;
  conf_list_t clients; /* ip_net_t */
  conf_list_t zones;   /* const char *: names of zones, may be empty */
  bool is_public;      /* answers over UDP are limited */
  uint64_t rate_limit; /* answers a second to one network, of a public view */
} view_conf_t;

typedef enum on_missing {
  ON_MISSING_NXDOMAIN,
  ON_MISSING_BASE, /* what the zone lacks comes from another of the same origin */
} on_missing_t;

typedef struct zone_conf {
  const char *name; /* origin, or origin@tag */
  const char *file;
  on_missing_t on_missing;
  const char *base; /* name of a zone; NULL unless ON_MISSING_BASE */
} zone_conf_t;

typedef struct query_log_conf {
  const char *file; /* NULL: no query log */
  uint64_t sample;  /* every so many answers of a worker */
} query_log_conf_t;

struct names;

typedef struct settings {
  conf_list_t listeners;  /* listener_conf_t */
  conf_list_t views;      /* view_conf_t */
  conf_list_t zones;      /* zone_conf_t */
  const char *control;    /* path of the control socket */
  uint64_t workers;       /* threads; 0: one a core */
  metrics_conf_t metrics; /* http; port 0: none */
  query_log_conf_t query_log;
  const char *user;  /* to become after binding, when started by root; NULL: none */
  bool pin;          /* each worker to a CPU of its own */
  bool watch;        /* reload when a file changes */
  bool free_bind;    /* addresses that this machine does not have yet are bound all the same */
  bool core_dumps;   /* harden_core_dumps */
  const char *state; /* folder for the last good copies of zones; NULL: none are kept */
  conf_t *conf;      /* what all this lives in */
  struct names *view_names, *zone_names;
} settings_t;

/* Reads and checks the configuration alone, no zone files. On error nothing is to be freed. */
int settings_load(const char *path, settings_t *out, diag_t *diag);
/* The same with the file's text at hand; paths in it are beside `path`. */
int settings_parse(const char *path, const char *text, size_t len, settings_t *out, diag_t *diag);
void settings_free(settings_t *settings);

/* The keys, a row each. */
extern const conf_map_t settings_map;

/* What a reload cannot change: SMPL_EINVAL with the place in `is` that differs. Sockets are bound and threads
 * started once. */
int settings_check_fixed(const settings_t *was, const settings_t *is, diag_t *diag);

/* Position of the view or zone of this name; SIZE_MAX if there is none. */
size_t settings_view(const settings_t *settings, const char *name);
size_t settings_zone(const settings_t *settings, const char *name);

/* The origin of "smplkit.com@world", lower-case. */
int settings_origin(const char *zone_name, dns_name_t *out);

/* The items of the lists. */
static inline const listener_conf_t *settings_listener_at(const settings_t *settings, size_t i)
{
  return (const listener_conf_t *)settings->listeners.items + i;
}

static inline const view_conf_t *settings_view_at(const settings_t *settings, size_t i)
{
  return (const view_conf_t *)settings->views.items + i;
}

static inline const zone_conf_t *settings_zone_at(const settings_t *settings, size_t i)
{
  return (const zone_conf_t *)settings->zones.items + i;
}

static inline const char *settings_name_at(const conf_list_t *list, size_t i)
{
  return ((const char *const *)list->items)[i];
}

static inline const ip_net_t *settings_client_at(const view_conf_t *view, size_t i)
{
  return (const ip_net_t *)view->clients.items + i;
}

/* Whether all its clients are private addresses. */
bool settings_view_is_private(const view_conf_t *view);

/* Calls each(ctx, text) for what is allowed but most likely not meant: private and public views on one
 * listener that is not on loopback, views and zones that nothing uses. */
void settings_warnings(const settings_t *settings, void (*each)(void *ctx, const char *text), void *ctx);
