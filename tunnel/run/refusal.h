/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals: what they mean, and saying them. */
#pragma once

#include <jansson.h>

#include "common/ssh/reason.h"
#include "tunnel/run/life.h"
#include "tunnel/run/route.h"

/* Whether it is the policy that says no (EXIT_REFUSED), or the target that cannot be reached
 * (EXIT_UNREACHABLE). */
exit_code_t refusal_code(reason_t reason);
/* Before ready, and of --stdio, a refusal ends the program; else it is said, but not again and again. reason
 * NULL: none. */
void refusal_tell(life_t *life, route_t *route, const char *target, uint16_t port, exit_code_t code,
                  const char *reason, const char *text);
/* libssh has put the server's answer into one text, error; EXIT_REFUSED or EXIT_UNREACHABLE. */
exit_code_t refusal_read(const char *error, char *text, size_t cap);
/* False when libssh's text is of something else: a later answer has taken its place. */
bool refusal_is_there(const char *error);
/* The bastion's words, and the name that may have been meant: text, or buf. */
const char *refusal_with_nearest(const json_t *reply, const char *text, char *buf, size_t cap);
