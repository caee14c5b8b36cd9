/* SPDX-License-Identifier: Apache-2.0 */
/* `check`: whether the bastion would start with this configuration, and what it says. */
#pragma once

#include "bastion/cli/options.h"

/* Returns the exit status. */
int check_run(const options_t *o);
