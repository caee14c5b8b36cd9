/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/front_conf.h"

#include "app/limits.h"

const front_limits_t front_limits_default = {
    .connections = LIMIT_CONNECTIONS,
    .handshakes = LIMIT_HANDSHAKES,
    .source_handshakes = LIMIT_HANDSHAKES_SOURCE,
    .held = {[ROOM_HEADS] = LIMIT_HEADS, [ROOM_BODIES] = LIMIT_BODIES, [ROOM_REPLIES] = LIMIT_REPLIES},
    .values = LIMIT_VALUES,
    .bodies_waiting = LIMIT_PARSE_WAITING,
    .bodies_parsed = LIMIT_PARSED,
    .bodies_parsed_share = LIMIT_PARSED_SHARE,
    .handshake_ms = LIMIT_HANDSHAKE_MS,
    .head_ms = LIMIT_HEAD_MS,
    .body_ms = LIMIT_BODY_MS,
    .idle_ms = LIMIT_IDLE_MS,
    .write_ms = LIMIT_WRITE_MS,
    .reply_ms = LIMIT_REPLY_MS,
    .linger_ms = LIMIT_LINGER_MS,
    .drain_ms = LIMIT_DRAIN_MS,
    .tick_ms = LIMIT_TICK_MS,
};

size_t front_connections_for(uint64_t files, size_t listeners)
{
  uint64_t kept = files / 2 < LIMIT_FILES_KEPT ? files / 2 : LIMIT_FILES_KEPT;
  uint64_t each = (files - kept) / listeners;
  if (each > LIMIT_CONNECTIONS)
    return LIMIT_CONNECTIONS;
  return each > 0 ? (size_t)each : 1;
}
