/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection reads: bytes of the socket, decrypted where there is TLS, cut into heads and bodies, each
 * in its connection's turn. Private to the http side; loop's thread. */
#pragma once

#include "app/http/conn.h"

/* Reads what the peer sends from now on. The connection may be closed instead. */
void intake_start(conn_t *conn);
/* A reply went out later than the read that brought its request: what came behind that request is next. */
void intake_resume(conn_t *conn);
/* The connection's turn has come (pace_next_request): goes on with what has come and was not looked at. */
void intake_take_turn(conn_t *conn);
/* The same for the step of its TLS handshake whose bytes have come (pace_next_handshake). */
void intake_shake(conn_t *conn);
