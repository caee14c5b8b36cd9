/* SPDX-License-Identifier: Apache-2.0 */
/* What the account service asks its store, besides edits and fetches. Each struct is one operation (store.h);
 * what is borrowed lives until done. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/limits.h"
#include "app/http/keys.h"
#include "app/store/ident.h"
#include "app/store/identity.h"
#include "app/store/jsonapi.h"
#include "app/store/store.h"

/* ---- accounts ---- */

extern const jsonapi_list_spec_t account_list_spec;
enum { ACCOUNT_FILTER_SEARCH };

/* "Acme Corp." becomes "acme_corp"; out of ACCOUNT_KEY_MAX bytes. Pure. */
void account_key_of(const char *name, char *out);

typedef struct account_counts {
  int64_t strays;      /* accounts that sisters know and this database does not */
  int64_t held;        /* keys that a restore has disabled */
  int64_t unwritten;   /* revocations that are not in their file yet */
  int64_t untold;      /* rows of accounts that sisters were not told of */
  int64_t told_before; /* the same, that only an earlier database of the sister was told */
} account_counts_t;

/* What an operator of the account service has to look into although all is served: `ready`, metrics and
 * smpl-app check tell it. */
typedef struct account_notices {
  store_call_t call; /* first */
  account_counts_t counts;
  json_t *sentences; /* an array of strings, the caller's; NULL with an error */
} account_notices_t;

/* ---- keys ---- */

extern const jsonapi_list_spec_t key_list_spec;
enum { KEY_FILTER_STATUS, KEY_FILTER_SEARCH };

/* A key on its way into a store: only its hash goes there. */
typedef struct key_new {
  char id[UUID_TEXT_MAX];
  char text[KEY_TEXT_MAX]; /* wiped by the store once the document holds it */
  uint8_t hash[KEY_HASH_LEN];
  int64_t expires_at;     /* -1: never */
  const char *created_by; /* name of an internal caller, NULL if the account itself makes it */
} key_new_t;

/* Fills id, text and hash. SMPL_ESYS. */
int key_make(key_new_t *key);

/* A key that may be used now. */
typedef struct key_found {
  char id[UUID_TEXT_MAX];
  char account[UUID_TEXT_MAX];
  int64_t expires_at;   /* wall clock ms; -1: never */
  int64_t last_used_at; /* -1: never */
} key_found_t;

typedef struct key_find {
  store_call_t call; /* first. SMPL_ENOENT: unknown, revoked or expired at now */
  const char *key;
  int64_t now;
  key_found_t found;
} key_find_t;

/* Notes the use of a key. */
typedef struct key_touch {
  store_call_t call; /* first */
  char id[UUID_TEXT_MAX];
  int64_t now;
} key_touch_t;

/* ---- revocations ---- */

/* Whether lines are missing in the file. */
typedef struct revocations_look {
  store_call_t call; /* first */
  bool missing;
} revocations_look_t;

/* Writes those that are missing, some at a time. */
typedef struct revocations_write {
  store_call_t call; /* first */
  bool first;        /* since the start: what the file was found without is missing, too */
  bool more;         /* are still missing, and can be written */
} revocations_write_t;

/* ---- what is known of sisters ---- */

/* Which database a sister had when it was last heard of, and how much that one had heard. A sister whose
 * database is another one, or knows less than it did, begins a new generation: what it was told before counts
 * as not told. */
typedef struct sister_note {
  char epoch[UUID_TEXT_MAX]; /* "": never heard of */
  int64_t heard, generation;
} sister_note_t;

typedef enum sister_news {
  SISTER_SAME,
  SISTER_LATE,    /* the answer to a call from before the last change: it tells nothing */
  SISTER_FIRST,   /* heard of for the first time */
  SISTER_ANOTHER, /* another database, or a restored one */
  SISTER_OLDER,   /* the same, but it has heard less than before */
} sister_news_t;

/* What follows from a report that came in answer to a call, which was made when `then` was noted; now: what
 * is noted now. Pure. */
sister_news_t sister_judge(const sister_note_t *now, const sister_note_t *then, const identity_t *report);

typedef struct sister_look {
  store_call_t call; /* first */
  const char *sister;
  sister_note_t note; /* all zero if there is none yet */
} sister_look_t;

/* A sister's answer to the question which database it has, and whom it knows. */
typedef struct sister_answer {
  store_call_t call; /* first */
  const char *sister;
  sister_note_t then; /* noted when it was asked */
  identity_t report;
  const json_t *ids;   /* a page of the ids that it knows; NULL: it was not asked for them */
  bool last;           /* no page follows */
  int64_t round;       /* wall ms: the beginning of this comparison */
  int64_t strays_most; /* it ends with so many */
  int64_t strays;      /* found in this comparison: before, then with these */
  sister_news_t news;  /* unless it is SISTER_SAME, ids were not looked at */
  bool compared;       /* the comparison is over */
} sister_answer_t;

/* ---- the outbox ---- */

/* Rows for accounts that these sisters were not told of; deleted accounts whose time is over are forgotten.
 */
typedef struct outbox_sow {
  store_call_t call; /* first */
  const char *const *sisters;
  int64_t now;
} outbox_sow_t;

typedef struct outbox_row {
  char account[UUID_TEXT_MAX];
  char name[ACCOUNT_NAME_BYTES];
  char key[ACCOUNT_KEY_BYTES];
  bool deleted;
} outbox_row_t;

/* What a sister is to be told. */
typedef struct outbox_due {
  store_call_t call; /* first */
  const char *sister;
  sister_note_t note;
  size_t fresh_count, again_count;
  outbox_row_t fresh[OUTBOX_ROWS]; /* least tried first */
  outbox_row_t again[OUTBOX_ROWS]; /* what only an earlier database of the sister was told, oldest first */
} outbox_due_t;

/* What came of telling it. */
typedef struct outbox_done {
  store_call_t call; /* first */
  const char *sister;
  const char *account;
  bool deletes; /* told is that the account was deleted */
  bool acknowledged;
  const char *error;  /* why not */
  sister_note_t then; /* noted when the call was made */
  bool reported;      /* the sister said which database it has: */
  identity_t report;
  int64_t now;
  sister_news_t news; /* what followed from that */
} outbox_done_t;

/* Which sisters were told of an account: their present databases. */
typedef struct outbox_told {
  store_call_t call; /* first */
  const char *account;
  const char *const *sisters; /* ends with NULL, at most OUTBOX_SISTERS_MAX */
  bool told[OUTBOX_SISTERS_MAX];
} outbox_told_t;
