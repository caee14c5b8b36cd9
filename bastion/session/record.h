/* SPDX-License-Identifier: Apache-2.0 */
/* A session's records in the audit. */
#pragma once

#include <jansson.h>

#include "bastion/session/session.h"

/* A record of this session: event, session, user (once it is known), source. */
json_t *record_of(const session_t *s, const char *event);
/* audit_append, on the account of the user who is signed in. lazy: audit_append_lazy. */
int record_write(session_t *s, json_t *record, bool lazy, audit_cb cb, void *ctx);
/* Appends without waiting. */
void record_append(session_t *s, json_t *record);
/* Appends a refusal, or counts it where there are too many of them (repeats.h): of this session and of its
 * source, and before the login of its source alone. Takes over record; event must be static, what is "" or
 * what was refused. True if it was appended, and is worth a line in the log. */
bool record_refusal(session_t *s, json_t *record, const char *event, const char *what, uint16_t port,
                    reason_t reason);
/* Appends what was counted of this session. */
void record_flush(session_t *s);
/* Appends what was counted of all: where it is due, or everything at the program's end. */
void record_tell_repeats(sessions_t *all, bool everything);
