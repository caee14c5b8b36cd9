/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines, hours and reloads: what ends sessions without anybody's message. */
#pragma once

#include "bastion/session/session.h"

/* Deadlines of all sessions, and the ends that were marked. The one place that finishes sessions. */
void sweep_all(sessions_t *all);
/* After a reload: ends what is no longer granted. Returns how many. */
size_t sweep_judge_all(sessions_t *all);
