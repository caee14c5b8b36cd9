/* SPDX-License-Identifier: Apache-2.0 */
/* One read of resources, as a store is asked for it. What it gives is made of the data and of what it is
 * asked with, and of nothing else. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "app/store/ident.h"
#include "app/store/jsonapi.h"
#include "app/store/problem.h"
#include "app/store/store.h"

/* What a list of documents is narrowed to, besides its own parameters. */
typedef struct fetch_filter {
  int managed;              /* -1 for either, else 0 or 1 */
  const char *group;        /* of configs their parent, of flags their type; NULL for any */
  const char *context_type; /* of flags: what their rules refer to; NULL: whatever they do */
  const char *context_key;  /* NULL: any reference to the type */
  const char *parameter;    /* of the query, that named the context */
} fetch_filter_t;

typedef struct fetch {
  store_call_t call;           /* first */
  char account[UUID_TEXT_MAX]; /* whose; "" for all */
  const char *id;              /* borrowed until done, as all texts */
  jsonapi_list_t list;
  fetch_filter_t filter;
  const char *after; /* ids that come after this one, */
  int64_t most;      /* so many of them */
  bool keep_document;

  /* What came of it: the document as text (malloc'ed), or the document where it is to be kept. With an error,
   * problem is the reply if there is one (malloc'ed): few reads need one, and it is big. */
  json_t *document;
  char *text;
  problem_t *problem;
  const char *parameter; /* of the query, that the problem is about; NULL for none */
} fetch_t;

/* For stores, on any thread: forgets what an earlier attempt has left. */
void fetch_begin(fetch_t *fetch);
/* The same: the error of this read, with its problem if that has a status. err, or SMPL_ENOMEM. */
int fetch_refuse(fetch_t *fetch, const problem_t *problem, int err);
/* The same: the document becomes text, unless it is to be kept. Then err, or SMPL_ENOMEM. */
int fetch_end(fetch_t *fetch, int err);
