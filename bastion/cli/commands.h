/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of smpl-bastion: one table for the command line and for the control socket. */
#pragma once

#include "bastion/cli/options.h"
#include "common/conf/command.h"

/* All, for usage, completion and the manual page. */
extern const command_set_t commands_all;
/* Those of the control socket, for broker_run: admin_command_t. */
extern const command_set_t commands_asked;

/* Runs the one that the words name. Returns the exit status. */
int commands_run(options_t *o, int argc, char **argv);
