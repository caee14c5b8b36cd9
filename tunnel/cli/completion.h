/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for shells: `smpl-tunnel completion bash|zsh|fish` prints a script; the script asks `completion
 * targets` for the targets that were last listed by the bastion, and `completion sets` for the sets of
 * tunnel.yaml. */
#pragma once

#include "tunnel/cli/options.h"
#include "tunnel/base/say.h"

/* Returns the exit status. */
int completion_print(const command_set_t *commands, const options_t *options, say_t *say);
