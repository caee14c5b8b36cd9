/* SPDX-License-Identifier: Apache-2.0 */
/* The ssh listeners: bound at start and reload, accepting while a template is ready. Who has to go when too
 * many have not signed in, door.h says. */
#pragma once

#include "bastion/limits.h"
#include "bastion/broker/broker_state.h"

typedef struct ssh_listener ssh_listener_t;

/* Opens what config lists and is not open yet. On error those opened here are closed again; the others stay.
 */
int listener_open_all(broker_t *b, const config_t *config, diag_t *diag);
/* Closes those that config (NULL: none) does not list. */
void listener_close_others(broker_t *b, const config_t *config);
/* Tells the log that a rule closed a newcomer, or another connection for its sake; not more often than every
 * LISTENER_LOG_MS. */
void listener_log_door(broker_t *b, const endpoint_t *newcomer, door_rule_t rule, const char *what);
/* Starts or stops accepting on all. */
void listener_accept(broker_t *b, bool on);
