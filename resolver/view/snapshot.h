/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration and zones together, as workers see them: made whole, swapped by one pointer, never
 * changed. The counters are the exception: each worker writes its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/diag.h"
#include "common/base/ip.h"
#include "resolver/view/settings.h"
#include "resolver/view/stats.h"
#include "resolver/view/view.h"
#include "resolver/zone/zone_copy.h"

typedef struct snapshot snapshot_t;

/* Reads the configuration at path and all its zones. On error *out is NULL. Any thread. workers is how
 * many threads will count; 0: what the configuration says, or one a core. */
int snapshot_load(const char *path, unsigned workers, snapshot_t **out, diag_t *diag);
void snapshot_free(snapshot_t *s);

/* The same at a start (and for `check`), where one bad zone does not take the others away: of a zone that
 * cannot be read its last good copy is served, without one it is unavailable (zone.h). */
int snapshot_load_start(const char *path, unsigned workers, snapshot_t **out, diag_t *diag);

/* Where a zone's records came from. */
typedef enum snapshot_source { SNAPSHOT_FILE, SNAPSHOT_COPY, SNAPSHOT_NOWHERE } snapshot_source_t;

typedef struct snapshot_origin {
  snapshot_source_t source;
  zone_copy_head_t copy; /* SNAPSHOT_COPY */
  char *why;             /* not SNAPSHOT_FILE: what is wrong with the file, and with the copy */
} snapshot_origin_t;

const snapshot_origin_t *snapshot_zone_origin(const snapshot_t *s, size_t i);
/* How many zones are not from their files. */
size_t snapshot_count_from(const snapshot_t *s, snapshot_source_t source);

bool snapshot_all_from_files(const snapshot_t *s);

/* The views that have zone i, themselves or below an overlay; the caller frees items alone. SMPL_ENOMEM. */
int snapshot_zone_views(const snapshot_t *s, size_t i, zone_copy_views_t *out);

/* Calls each(ctx, text) for zones of s that were in old too, by name, if the serial went back, or stayed
 * although the data changed. Any thread. */
void snapshot_serial_warnings(const snapshot_t *s, const snapshot_t *old,
                              void (*each)(void *ctx, const char *text), void *ctx);
/* The same of one zone from its file beside its last good copy. */
void snapshot_warn_of_copy(const snapshot_t *s, size_t i, void (*each)(void *ctx, const char *text),
                           void *ctx);

const settings_t *snapshot_settings(const snapshot_t *s);
unsigned snapshot_workers(const snapshot_t *s);

/* dns listeners by ascending address and port, whatever the order in the file, so that a listener keeps
 * its number. */
size_t snapshot_listener_count(const snapshot_t *s);
endpoint_t snapshot_listener(const snapshot_t *s, size_t i);
/* The listener as written in the configuration, and the ranges its networks were cut into. */
const listener_conf_t *snapshot_listener_conf(const snapshot_t *s, size_t i);
size_t snapshot_listener_ranges(const snapshot_t *s, size_t i);

size_t snapshot_zone_count(const snapshot_t *s);
const zone_t *snapshot_zone(const snapshot_t *s, size_t i); /* in the order of the configuration */
size_t snapshot_view_count(const snapshot_t *s);
const view_t *snapshot_view(const snapshot_t *s, size_t i);

/* A client's view, NULL for none, and its number, then snapshot_view_count. */
typedef struct snapshot_view {
  const view_t *view;
  size_t number;
} snapshot_view_t;

/* Invariant 1: the views of `count` clients, each from the dns listener it came by and its address, and from
 * nothing else. None when no network of the listener's views holds the address. Those of a batch are chosen
 * together, so that thousands of views cost no waiting for memory. */
void snapshot_choose(const snapshot_t *s, size_t listener, const ip_t *peers, size_t count,
                     snapshot_view_t *out);

/* Which of the snapshots that were in force one after another this one is; 0: the first. */
uint64_t snapshot_generation(const snapshot_t *s);
/* Before it replaces old, in whose place nobody else will stand. */
void snapshot_follow(snapshot_t *s, const snapshot_t *old);

/* Answers a second that the view gives to one network over UDP; 0: as many as are asked for, as does no view
 * (snapshot_view_count). */
uint32_t snapshot_rate_limit(const snapshot_t *s, size_t view);

/* A worker's counters for a view (snapshot_view_count: clients without one). */
stats_t *snapshot_stats(const snapshot_t *s, unsigned worker, size_t view);
/* All workers'. */
stats_sum_t snapshot_stats_sum(const snapshot_t *s, size_t view);

/* A worker's counter of questions for names of a zone that this snapshot holds. */
zone_stats_t *snapshot_zone_stats(const snapshot_t *s, unsigned worker, const zone_t *zone);
/* All workers' together, with what snapshot_inherit took over. Any thread. */
uint64_t snapshot_zone_queries(const snapshot_t *s, size_t zone);
/* Goes on counting where zones of the same names stood in old, which no worker uses any more. Main thread. */
void snapshot_inherit(snapshot_t *s, const snapshot_t *old);
