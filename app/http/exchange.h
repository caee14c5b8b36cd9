/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a connection, from the end of its head to its handler, or to the refusal of what came.
 * Answers go to the listener's desk (reply.h). Private to the http side; loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/http/conn.h"

/* head[0..len) is a whole head that was not refused; more says whether bytes follow it already. */
void exchange_head(conn_t *conn, const uint8_t *head, size_t len, bool more);
/* Bytes of the body of conn->request; returns how many were taken. */
size_t exchange_body(conn_t *conn, const uint8_t *bytes, size_t len);
/* The peer sends no more of that body: its request is gone. */
void exchange_drop(conn_t *conn);
/* The request, whose client has gone, is over. */
void exchange_end(request_t *request);
/* The guard lets conn->request pass: its body may come. */
void exchange_await_body(conn_t *conn);

/* Refuses bytes that are no head, and reads nothing more as a request. */
void exchange_refuse_bytes(conn_t *conn, gate_verdict_t gate, const uint8_t *bytes, size_t len);

/* What parse.h calls: a thread has taken the request's body; it has parsed it. */
void exchange_body_is_taken(request_t *request);
void exchange_body_is_parsed(request_t *request, int err, const char *why);
