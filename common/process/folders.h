/* SPDX-License-Identifier: Apache-2.0 */
/* Folders that systemd made for a service (RuntimeDirectory=, StateDirectory=, LogsDirectory=), when the
 * service starts as root and becomes somebody else by itself: they are root's then, and systemd gives what is
 * in them back to root at each start. */
#pragma once

#include <sys/types.h>

#include "common/base/diag.h"

enum { FOLDERS_FILES_MAX = 10000 }; /* of one folder that are looked at */

/* Gives the folders that the environment names, and the files and sockets right in them, to this account, as
 * far as they are root's. Before root is given up. Symbolic links and files with several names are left
 * alone: an earlier process could have put them there. SMPL_ESYS, with the folder. */
int folders_give(uid_t uid, gid_t gid, diag_t *diag);
