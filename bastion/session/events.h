/* SPDX-License-Identifier: Apache-2.0 */
/* News that a client gets without asking: an end comes near, or it has come. To every smpl-control channel of
 * the session as an event, and to stock ssh in words where the protocol has a place for them. */
#pragma once

#include "bastion/session/session.h"

/* Tells the client when an end comes near, once; again after it was averted. Called by each sweep. */
void events_warn(session_t *s, uint64_t now);
/* Tells the client that the session is being ended, before the worker is told to. */
void events_ending(session_t *s);
/* Tells the client that the bastion stops, and when. */
void events_stopping(session_t *s, uint64_t left_ms);
/* The time left until the idle time and the session's time (hours count into it) are over, in ms. */
uint64_t events_idle_left(const session_t *s, uint64_t now);
uint64_t events_session_left(const session_t *s, uint64_t now);
