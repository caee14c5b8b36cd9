/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of smpl-tunnel, a row each: dispatch, usage and completion follow from it. */
#pragma once

#include "common/conf/command.h"

/* Rows of cli_command_t. */
extern const command_set_t commands;
