/* SPDX-License-Identifier: Apache-2.0 */
/* Master files (RFC 1035 section 5.1) cut into logical records: words, quotes, parentheses, comments, line
 * numbers. This module does not know the meaning of the words. Pure but for its own buffer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/diag.h"

typedef struct scan scan_t;

/* A word as it stands in the file, quotes and backslashes included; a slice of the text, no NUL after it. */
typedef struct scan_word {
  const char *text;
  size_t len;
} scan_word_t;

typedef struct scan_entry {
  const scan_word_t *words; /* at least one; valid until the next scan_next */
  size_t count;
  unsigned line;    /* where it begins */
  bool blank_owner; /* the line begins with a blank: the owner is that of the record before */
} scan_entry_t;

/* path is for messages. text and path are borrowed until scan_free. SMPL_ENOMEM. */
int scan_new(const char *path, const char *text, size_t len, scan_t **out);
void scan_free(scan_t *scan);

/* The next record or directive; SMPL_ENOENT at the end of the text, SMPL_EINVAL or SMPL_ELIMIT with
 * "path:line: ..." in diag. Nothing may be read after an error. */
int scan_next(scan_t *scan, scan_entry_t *out, diag_t *diag);
