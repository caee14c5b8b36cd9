/* SPDX-License-Identifier: Apache-2.0 */
/* A listener's rules: which raw paths it lets in, and so which routes its table may hold. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "/api/v1/health" admits that path alone, a rule ending in a star as its last segment every path below. */
typedef struct rule {
  const char *text;  /* as configured; borrowed */
  size_t prefix_len; /* bytes of text that a path must begin with */
  bool open;         /* anything may follow */
} rule_t;

/* SMPL_EINVAL unless text is a path that the gate admits, or such a path (or nothing) and a final star
 * segment. */
int rule_parse(const char *text, rule_t *out);

/* On a raw path that the gate admitted. */
bool rule_match(const rule_t *rule, const uint8_t *path, size_t len);

/* True if the rule admits any path that the route's pattern ("/api/v1/configs/{id}") stands for. */
bool rule_admits_pattern(const rule_t *rule, const char *pattern);
