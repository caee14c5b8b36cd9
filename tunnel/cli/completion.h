/* SPDX-License-Identifier: Apache-2.0 */
/* `smpl-tunnel completion bash|zsh|fish` prints a script for a shell. The script asks `completion targets`
 * for the targets that were last listed by the bastion, and `completion sets` for the sets of tunnel.yaml. */
#pragma once

#include "tunnel/cli/options.h"
#include "tunnel/base/say.h"

/* Does what the word behind `completion` says. Returns the exit status. */
int completion_run(const command_set_t *commands, const options_t *options, say_t *say);
