/* SPDX-License-Identifier: Apache-2.0 */
/* A session's forwarded connections: judged, found, connected, recorded, handed over, ended. */
#pragma once

#include "bastion/session/session.h"

void channel_open(session_t *s, const msg_t *m, bool refuse);
void channel_end(session_t *s, const msg_t *m);
void channel_traffic(session_t *s, const msg_t *m);
/* No byte passes any more, whoever holds a descriptor of theirs. Frees nothing. */
void channel_shut_all(session_t *s);
/* Refuses those that are being opened. Not for a session that is open. */
void channel_give_up_all(session_t *s);
/* Records the end of all and frees them. */
void channel_finish_all(session_t *s);
/* Decides anew for every open connection, by which grant and until when. Whether all are still granted. */
bool channel_all_granted(session_t *s);
/* Whether older sessions of the user leave this one no room (max_sessions) in a grant that it uses. */
bool channel_over_limit(const session_t *s);
/* The newest of this target; port 0: any. With nth, of the nth channel alone, if that was its target; 0: of
 * whichever. */
const refusal_t *channel_last_refusal(const session_t *s, uint32_t nth, const char *host, uint16_t port);
