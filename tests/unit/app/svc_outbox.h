/* SPDX-License-Identifier: Apache-2.0 */
/* An account service's store and outbox on a loop of their own, with sisters that the test plays: it stands
 * in for sister.c. The clock stands still but for the test. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "app/accounts/outbox.h"
#include "app/store/edit.h"

#define ACCOUNT "d290f1ee-6c54-4b01-90e6-d701748f0851"
#define EPOCH_1 "11111111-2222-4333-8444-555555555501"
#define EPOCH_2 "11111111-2222-4333-8444-555555555502"

enum { CALLS_MAX = 4096 };

struct played {
  char method[8], path[128], host[64];
  sister_cb cb;
  void *ctx;
};

extern struct played calls[CALLS_MAX];
extern size_t call_count;
extern atomic_uint_least64_t now_ms;
extern uv_loop_t loop;
extern store_t *store;
extern outbox_t *outbox;
extern const char *const two[], *const one[], *const none[];

void reply(size_t i, int err, int status);
/* 200 from a sister that says which database it has. ids: NULL, or what it knows. */
void reply_as(size_t i, const char *epoch, int heard, json_t *ids);
/* Sets a bool. */
void mark(void *ctx);

int set_up_folder(void **state);
int tear_down_folder(void **state);
void open_outbox(const char *const *urls);
void close_outbox(void);

/* An account on its way into the store. */
typedef struct creation {
  edit_t edit; /* first */
  outbox_list_t *sisters;
  key_new_t key;
  char id[UUID_TEXT_MAX];
  bool done;
} creation_t;

void start_creation(creation_t *creation);
/* And waits for it. id of UUID_TEXT_MAX bytes. */
void create_account(char *id);
void delete_account(const char *id);

void run_for(uint64_t ms);
/* Until all that was to be written so far has been. */
void settle(void);
/* Until the outbox has looked for due work once more at least. */
void look_again(void);
void await_calls(size_t count);
/* How many names the account's report has there. */
size_t listed(const char *id, const char *list);
