/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of an answer that is ready: it goes to its connection, which then goes on or ends; or nowhere,
 * if the client has gone. Private to the http side; loop's thread. */
#pragma once

#include "app/http/output.h"
#include "app/http/reply.h"

/* Of every desk, whose ctx is its conn_listener_t. */
extern const reply_calls_t delivery_replies;
/* Of every connection's output, whose ctx is the conn_t. */
extern const output_calls_t delivery_outputs;
