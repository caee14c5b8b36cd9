/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of a running tunnel, in a folder that only its user can enter: `status` and `stop` ask
 * there. */
#pragma once

#include "tunnel/run/tunnel_state.h"

/* Where the sockets lie, PID.sock each, into path of cap bytes. The folder is made if wanted; it must be ours
 * and ours alone. SMPL_ENOENT: there is none. */
int control_folder(char *path, size_t cap, bool make, diag_t *diag);

/* Ready: from now on it can be asked. A folder that cannot be had is no reason to end. */
void control_start(tunnel_t *t);
void control_stop(tunnel_t *t);
