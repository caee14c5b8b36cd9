/* SPDX-License-Identifier: Apache-2.0 */
/* Another configuration, taken over whole or not at all. */
#pragma once

#include "bastion/broker/broker_state.h"

/* Loads the configuration anew and puts it in force. On error nothing changes. Success with faults in the
 * configuration now in force (faults.h) is logged here. */
int reload_now(broker_t *b, size_t *ended, diag_t *diag);
/* What looks names up as this configuration says. */
int reload_lookup(broker_t *b, const config_t *c, lookup_t **out, diag_t *diag);
/* What the system does not let this process or its workers have would otherwise end one session after the
 * other. */
int reload_check_limits(const broker_t *b, const config_t *c, diag_t *diag);
