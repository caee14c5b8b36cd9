/* SPDX-License-Identifier: Apache-2.0 */
/* The grant decision for people: which grant decides about a target, and why. Nothing is looked up or
 * connected. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "bastion/policy/config.h"
#include "common/base/diag.h"

/* "TARGET" or "TARGET:PORT" ("[fd00::1]:80" for IPv6) into host (cap bytes) and port (0: none given).
 * SMPL_EINVAL. */
int explain_split(const char *text, char *host, size_t cap, uint16_t *port, diag_t *diag);

/* {"ok": true, "allowed": ..., "text": one line, ...}; {"ok": false, "error": ...} for a user that does not
 * exist. A new reference. */
json_t *explain_decision(const config_t *config, const char *user, const char *host, uint16_t port);
/* As text on standard output. Returns whether it is allowed. */
bool explain_print(const json_t *decision);
