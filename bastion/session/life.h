/* SPDX-License-Identifier: Apache-2.0 */
/* A session from the accepted connection to its last record: it is started, its worker's messages are handed
 * to those who answer them, and it is finished. */
#pragma once

#include "bastion/session/session.h"

/* all is zeroed. host is borrowed, and may change. */
void life_init(sessions_t *all, const session_host_t *host);
/* Takes over client, also on failure, unless it returns the rule by which there is no place for it. */
door_rule_t life_start(sessions_t *all, int client, const endpoint_t *source);
void life_spawned(sessions_t *all, uint64_t number, int pid);
void life_exited(sessions_t *all, uint64_t number, int status);
/* The end, whoever wanted it and however it came: after this nothing of the session can pass a byte or run
 * on, and its records are complete. Frees it, perhaps. Called by the sweep alone, and at the program's end.
 */
void life_finish(session_t *s);
/* At the program's end: cuts and records what is left. */
void life_force_all(sessions_t *all);
