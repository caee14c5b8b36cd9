/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to reads, kept ready for whoever asks the same again: an account, a path and a query. All of them
 * are of one state of the database, told by store_change (store.h); one commit, by whatever process, and none
 * of them is used any more. So a read that begins after a write was acknowledged finds it. Who asks was
 * checked before; nothing here knows of keys. Loop's thread. */
#pragma once

#include "app/limits.h"
#include "app/store/ident.h"
#include "app/store/store.h"
#include "app/http/shared.h"

typedef struct answers answers_t;

/* What an answer belongs to. target: path and query as sent. */
typedef struct answers_key {
  const char *account;
  const char *target;
  size_t target_len;
} answers_key_t;

/* NULL when out of memory. */
answers_t *answers_new(void);
/* NULL allowed. */
void answers_free(answers_t *answers);

/* The answer given to that when the database was as it is now; borrowed until the next call. NULL if there is
 * none. */
shared_t *answers_find(answers_t *answers, const store_change_t *now, const answers_key_t *key);
/* Keeps body, counting itself in, if it fits: the database was in the state told by change from before the
 * first to after the last read that it was made of. */
void answers_keep(answers_t *answers, const store_change_t *change, const answers_key_t *key, shared_t *body);

typedef struct answers_counts {
  size_t kept, bytes; /* now */
  uint64_t used;      /* how often one was found, since the start */
} answers_counts_t;

answers_counts_t answers_counts(const answers_t *answers);
