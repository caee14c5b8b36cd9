/* SPDX-License-Identifier: Apache-2.0 */
/* A request head read twice: by our gate, then by llhttp, Node's parser. Only what both understand alike goes
 * on. */
#pragma once

#include "app/gate/gate.h"

/* gate_head, then llhttp on the same bytes; GATE_DISAGREE unless method, version, target, every header and
 * the body's length come out the same. *keep_alive: the client means to go on using the connection (RFC 9112
 * §9.3). Pure. */
gate_verdict_t head_read(const uint8_t *head, size_t len, gate_head_t *out, bool *keep_alive);
