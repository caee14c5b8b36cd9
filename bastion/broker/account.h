/* SPDX-License-Identifier: Apache-2.0 */
/* The account that the broker runs as once its listeners are bound: `user` of the configuration. Of root it
 * keeps the right to bind ports below 1024, for reloads; what the templates need stays with the launcher
 * (launcher.h). */
#pragma once

#include "bastion/policy/config.h"

/* An error if `user` does not exist. *ours: without `user`, and where it can be become from here. */
int account_check(const config_t *config, bool *ours, diag_t *diag);
/* Becomes it, for good; no new privileges either way. While the process has one thread. Nothing without
 * `user`, or if this is that user already. */
int account_become(const config_t *config, diag_t *diag);
/* Whether the account that this process is now can do what serving and reloading need beside reading the
 * configuration: write the audit, make the control socket. */
int account_can_write(const config_t *config, diag_t *diag);
