/* SPDX-License-Identifier: Apache-2.0 */
/* What the services keep: accounts, keys, documents (configs or flags), tenants, the outbox, and what is
 * known of sisters. This header names the operations and says how they are asked for. Their arguments and
 * answers are structs that begin with a store_call_t: edit.h, fetch.h, accounts.h. What keeps the data stands
 * behind it, in a folder of its own (sqlite/), with a table that has a row for each operation.
 *
 * Every operation is answered by its done, on the loop's thread, exactly once. A store on this machine may
 * answer a short read before store_ask returns; a store over the network never does. Writes are answered once
 * they are durable. So a caller keeps the call, and all that it leads to, until done: a request lives until
 * it is replied to (app/http/handler.h), whether or not its client is still there.
 *
 * Calls wait in turns (common/base/turns.h) by their share: the account, or whoever else they are for. Those
 * of one share run in order.
 *
 * All on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "app/limits.h"
#include "common/base/diag.h"
#include "common/base/turns.h"

typedef enum store_op {
  STORE_CHECK, /* store_call_t: does the store answer? */
  /* Accounts and their keys. */
  STORE_ACCOUNT_CREATE, /* edit_t: id, attributes, key, sisters. The document has the key's text, this once */
  STORE_ACCOUNT_DELETE, /* edit_t: id */
  STORE_ACCOUNT_GET,    /* fetch_t: id. SMPL_ENOENT */
  STORE_ACCOUNT_LIST,   /* fetch_t: list */
  STORE_ACCOUNT_NOTICES, /* account_notices_t */
  STORE_KEY_CREATE,      /* edit_t: account, attributes, key. The document has the key's text, this once */
  STORE_KEY_REPLACE,     /* edit_t: account, id, attributes, key->expires_at */
  STORE_KEY_REVOKE,      /* edit_t: account, id */
  STORE_KEY_DELETE,      /* edit_t: account, id */
  STORE_KEY_GET,         /* fetch_t: account, id. SMPL_ENOENT */
  STORE_KEY_LIST,        /* fetch_t: account, list */
  STORE_KEY_FIND,        /* key_find_t */
  STORE_KEY_TOUCH,       /* key_touch_t */
  /* What may not come back by a restore, and is written to a file besides. */
  STORE_REVOCATIONS_LOOK,  /* revocations_look_t */
  STORE_REVOCATIONS_WRITE, /* revocations_write_t */
  /* Telling sisters of accounts. */
  STORE_OUTBOX_SOW,    /* outbox_sow_t */
  STORE_OUTBOX_DUE,    /* outbox_due_t */
  STORE_OUTBOX_DONE,   /* outbox_done_t */
  STORE_OUTBOX_TOLD,   /* outbox_told_t */
  STORE_SISTER_NOTE,   /* sister_look_t */
  STORE_SISTER_ANSWER, /* sister_answer_t */
  /* Products: the accounts that they were told of, and what these keep. */
  STORE_TENANT_PUT,       /* edit_t: id, attributes */
  STORE_TENANT_DELETE,    /* edit_t: id, and all that the account keeps */
  STORE_TENANT_GET,       /* fetch_t: id. SMPL_ENOENT */
  STORE_TENANT_LIST,      /* fetch_t: after, most: ids that ascend */
  STORE_DOCUMENT_CREATE,  /* edit_t: account, new_id, attributes */
  STORE_DOCUMENT_REPLACE, /* edit_t: account, id, new_id, attributes */
  STORE_DOCUMENT_DELETE,  /* edit_t: account, id */
  STORE_DOCUMENT_GET,     /* fetch_t: account, id */
  STORE_DOCUMENT_LIST,    /* fetch_t: account, list, filter */
  STORE_OPS
} store_op_t;

typedef struct store store_t;

/* A place in a store's queues; each store's own but for key. */
typedef struct store_connection store_connection_t;
typedef struct store_job store_job_t;
struct store_job {
  int (*run)(store_connection_t *connection, store_job_t *job);
  void (*done)(store_job_t *job, int err);
  turns_key_t key; /* the share that it waits in; zeroed: the service itself */
  turns_item_t item;
  store_job_t *next;
  int err;
  bool reads;
  uint64_t took_ms; /* there, of a read */
};

/* One operation under way; the beginning of its struct. */
typedef struct store_call store_call_t;
struct store_call {
  store_op_t op;
  /* err: of the operation; SMPL_ELIMIT: no place was left; SMPL_EBUSY, SMPL_EFULL, SMPL_ETIMEOUT,
   * SMPL_ESERVER: the store's trouble; SMPL_ECLOSED: it is being closed. With an error nothing was changed.
   */
  void (*done)(store_call_t *call, int err);

  uint64_t took_ms; /* how long it kept others waiting, once it was done */
  store_t *store;   /* the store's own, as what follows */
  store_job_t job;  /* but for job.key, which whoever asks sets */
};

/* Which state of the data readers find. Two are equal only if nothing was committed between them, by
 * whatever process: what was read before the one still holds at the other. */
typedef struct store_change {
  unsigned char bytes[48];
} store_change_t;

static inline bool store_change_equal(const store_change_t *a, const store_change_t *b)
{
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Asks for the operation that op names. */
void store_ask(store_t *store, store_call_t *call);
/* Asks for a read if it can be answered at once and within the share's part of the loop's time: true, and
 * done was called. False: nothing has happened. A store over the network says false always. */
bool store_ask_at_once(store_t *store, store_call_t *call);
/* Calls done with err on a later turn of the loop, and does nothing else. */
void store_pass(store_t *store, store_call_t *call, int err);

/* Costs no system call. False if it cannot be told now. */
bool store_change(store_t *store, store_change_t *out);
/* Writes under way. */
size_t store_writes(const store_t *store);
/* Answers what is under way, runs what is queued, and closes; done is called from the loop, after the last
 * answer. Calls that come meanwhile are SMPL_ECLOSED. */
void store_close(store_t *store, void (*done)(void *ctx), void *ctx);

/* ---- for those behind it ---- */

typedef struct store_kind {
  void (*ask)(store_t *store, store_call_t *call); /* leads to one store_answer */
  bool (*ask_at_once)(store_t *store, store_call_t *call);
  void (*pass)(store_t *store, store_call_t *call, int err);
  bool (*change)(store_t *store, store_change_t *out);
  size_t (*writes)(const store_t *store);
  void (*close)(store_t *store, void (*done)(void *ctx), void *ctx);
} store_kind_t;

/* The beginning of a store's own struct; zeroed but for kind. */
struct store {
  const store_kind_t *kind;
  size_t calls; /* under way */
  bool closing;
};

/* The call is over. */
void store_answer(store_call_t *call, int err);
