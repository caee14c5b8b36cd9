/* SPDX-License-Identifier: Apache-2.0 */
/* Idle time, session time and hours that are in force for a session: they follow from the grants in use. */
#pragma once

#include "bastion/session/session.h"

/* False if no grant of the user is in force. */
bool terms_set(session_t *s);
