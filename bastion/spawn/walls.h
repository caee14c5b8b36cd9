/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker and the launcher may still do once they serve. The worker's and the template's walls are in
 * worker_seal.h. */
#pragma once

#include <stdbool.h>

#include "bastion/policy/config.h"

typedef struct walls {
  bool landlock;
  bool seccomp;
} walls_t;

/* Whether /etc/nsswitch.conf names a source of accounts beside files (text of that file, NULL allowed). Then
 * looking one up speaks to a service of this machine. */
bool walls_accounts_elsewhere(const char *nsswitch);

/* For the broker, while it has one thread. From now on it reads the folders of its configuration, keys and
 * host keys, and writes the audit's folder. It reaches nothing else of the file system. A kernel without
 * Landlock is a warning in the log. */
void walls_fence(const config_t *config, const char *config_path, walls_t *walls);
/* The broker, last: system calls, for every thread. A kernel without seccomp is a warning in the log. */
void walls_seal(const config_t *config, walls_t *walls);

/* The launcher: what it and the templates that it executes need; they inherit it. Makes no socket and opens
 * no file for writing. SMPL_ESYS if it does not stand. */
int walls_seal_launcher(void);
