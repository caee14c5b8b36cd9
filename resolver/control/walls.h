/* SPDX-License-Identifier: Apache-2.0 */
/* What is between the process and the system once it serves: an ordinary user, no way back to privileges, the
 * folders and ports that it needs (Landlock), an allow-list of system calls for all threads. `status` tells
 * which walls do not stand. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "common/base/diag.h"
#include "common/conf/account.h"
#include "resolver/view/settings.h"
#include "resolver/view/snapshot.h"

enum { WALLS_USER_MAX = 256 }; /* bytes of a user's name, with NUL */

typedef struct walls {
  char user[WALLS_USER_MAX]; /* "": as started */
  bool root;                 /* serves as root: nobody named an account */
  bool no_new_privs;
  bool landlock;
  bool seccomp;
} walls_t;

/* For account_check. */
account_conf_t walls_account(const settings_t *settings);

/* Call it after everything is bound and before any thread starts. If root, and the configuration names
 * `user`, it becomes that user and hands it the control socket. It fails if that user could not read
 * configuration and zones again. Not root and another user named: SMPL_EDENIED. */
int walls_drop(const snapshot_t *snapshot, const char *config, walls_t *walls, diag_t *diag);

/* Call it right behind walls_drop. From now on every thread may read the folders of configuration and zones,
 * and remove files beside the control socket. It reaches nothing else of the file system, makes no TCP
 * connection, and sends no signal to another process. A kernel without Landlock is a warning in the log. */
void walls_fence(const snapshot_t *snapshot, const char *config, walls_t *walls);

/* After every thread has started: seccomp for all of them. keeper is the one descriptor that may be shut
 * down, -1 if there is none. A kernel without seccomp is a warning in the log. */
void walls_seal(walls_t *walls, int keeper);

/* ["user dns", "no_new_privs", "landlock", "seccomp"] */
json_t *walls_json(const walls_t *walls);
