/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the account that this process is now can do what serving and reloading need beside reading the
 * configuration. */
#pragma once

#include "bastion/policy/config.h"

/* Write the audit, make the control socket and what `state` has. Nothing without `user`. SMPL_EDENIED, with
 * the key and a way out. */
int writable_check(const config_t *config, diag_t *diag);
