/* SPDX-License-Identifier: Apache-2.0 */
/* What --help says. */
#pragma once

#include "common/conf/command.h"

void usage_print(const command_set_t *commands, FILE *to);
