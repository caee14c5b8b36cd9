/* SPDX-License-Identifier: Apache-2.0 */
/* One change of what is stored, as a store is asked for it: of an account, a key, a tenant or a document. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "app/store/ident.h"
#include "app/store/problem.h"
#include "app/store/store.h"

struct key_new;

typedef struct edit {
  store_call_t call;           /* first */
  char account[UUID_TEXT_MAX]; /* whose; "" where the change is of the account itself */
  const char *id;              /* of what is there, or of a new account; NULL for other new things */
  const char *new_id;          /* asked for by the body; may be NULL */
  const json_t *attributes;    /* checked as far as the body alone tells; read only */
  struct key_new *key;         /* of a new account, or of a key */
  const char *const *sisters;  /* URLs whom a new account is told; ends with NULL */
  int64_t now;                 /* wall clock, ms */
  bool keep_document;          /* document is wanted, not its text */

  /* What came of it: with status 204 nothing more, else the document as text (malloc'ed). Or problem.status
   * is set: that is the reply, and nothing stays written. All that is borrowed above lives until done. */
  int status;
  json_t *document;
  char *text;
  problem_t problem;
} edit_t;

/* For stores, on any thread, before the commit: the document becomes text, unless it is to be kept. Then err,
 * or SMPL_ENOMEM: no commit without a reply to tell of it. */
int edit_end(edit_t *edit, int err);
