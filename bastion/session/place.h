/* SPDX-License-Identifier: Apache-2.0 */
/* A session's place before the login. */
#pragma once

#include "bastion/session/session.h"

/* A place for a session that has its source, and has another one give way for it where that must be. The rule
 * by which it gets none; DOOR_OPEN. */
door_rule_t place_take(session_t *s);
/* It has signed in: its place is free, and its source keeps one for the next. */
void place_leave(session_t *s);
