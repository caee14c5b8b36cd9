/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in: host signatures, keys that are offered, signatures, and the welcome. */
#pragma once

#include "bastion/session/session.h"

void login_sign(session_t *s, const msg_t *m);
/* late: the user has signed in. */
void login_verify(session_t *s, const msg_t *m, bool late);
void login_probe(session_t *s, const msg_t *m, bool late);
void login_request(session_t *s, const msg_t *m);
