/* SPDX-License-Identifier: Apache-2.0 */
/* `status` and `stop`: the running tunnels of the same user, asked over their control sockets. */
#pragma once

#include "tunnel/base/say.h"
#include "tunnel/cli/options.h"

/* They return the exit status. */
int manage_print_status(const options_t *options, say_t *say);
int manage_stop_others(const options_t *options, say_t *say);
