/* SPDX-License-Identifier: Apache-2.0 */
/* What smpl-app may still do once it serves: sockets to what its configuration names, its database and access
 * log, the files that its configuration names; it runs no program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/limits.h"
#include "app/program/settings.h"

/* The port that a URL names; 0: none, so a lookup tells it. Pure. */
uint16_t walls_url_port(const char *url);

/* Which TCP ports the process can still connect to. */
typedef struct walls {
  bool fenced; /* Landlock stands, and knows ports; else to any */
  size_t count;
  uint16_t ports[WALLS_PORTS_MAX];
} walls_t;

/* SMPL_OK if all that the configuration calls can be reached from behind the walls that stand; else diag
 * says what needs a restart. */
int walls_reach(const walls_t *walls, const settings_t *settings, diag_t *diag);

/* While the process has one thread, before the service opens its database: files, and from Landlock's ABI 4
 * on the TCP ports of sisters and resolvers, where each URL names its port. The log warns of each wall that
 * does not stand. */
void walls_fence(const settings_t *settings, const char *config_path, walls_t *walls);
/* Once everything is open, for every thread: system calls. */
void walls_seal(void);
