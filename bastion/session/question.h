/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-control: what a client may ask inside its session. One JSON object a line; composed here, carried by
 * the worker. */
#pragma once

#include "bastion/session/session.h"
#include "common/conf/command.h"

/* Which questions there are. */
extern const command_set_t question_commands;

void question_ask(session_t *s, const msg_t *m);
/* Gives up those that wait. */
void question_drop_all(session_t *s);
