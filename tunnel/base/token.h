/* SPDX-License-Identifier: Apache-2.0 */
/* One of the things that may stand behind a percent sign (ssh_config(5), TOKENS). */
#pragma once

typedef struct token {
  char letter; /* 0: the end of a list */
  const char *value;
} token_t;
