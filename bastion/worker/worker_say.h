/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker says of what it does not do: to its client, to the broker, and by ending. */
#pragma once

#include <stdnoreturn.h>

#include "bastion/worker/worker_state.h"

/* Says why to broker and client, and ends the process. text may be NULL: the reason's own. */
noreturn void worker_end(worker_t *w, reason_t reason, const char *text);
/* Something refused here. what is for the audit; hostile bytes in it are escaped. */
void worker_note(worker_t *w, reason_t reason, const char *what);
/* To the broker: a message of a reason and words, which are escaped. */
void worker_send_text(worker_t *w, msg_type_t type, reason_t reason, const char *text);

/* The client is told no. Takes the message over. */
void worker_refuse(ssh_message message);
/* Whether the client has as many channels as it may. */
bool worker_full(const worker_t *w);
/* The note of it: WORKER_FULL_NOTES_MAX times, and never the end. */
void worker_note_full(worker_t *w, const char *what);
