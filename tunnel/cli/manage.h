/* SPDX-License-Identifier: Apache-2.0 */
/* Running tunnels of the same user: each has a control socket in a folder that only this user can enter;
 * `status` and `stop` ask there. */
#pragma once

#include "tunnel/run/tunnel_state.h"

enum { MANAGE_TUNNELS_MAX = 256, MANAGE_ASK_MS = 2000 };

/* Ready: from now on it can be asked. A folder that cannot be had is no reason to end. */
void manage_start(tunnel_t *t);
void manage_stop(tunnel_t *t);

/* The commands; they return the exit status. */
int manage_print_status(const options_t *options, say_t *say);
int manage_stop_others(const options_t *options, say_t *say);
