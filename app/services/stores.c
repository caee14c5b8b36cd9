/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/stores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/sqlite/file.h"
#include "common/base/error.h"

/* A store by the beginning of the database's name; the last one takes what is left. */
static const struct {
  const char *prefix;
  int (*open)(const service_env_t *env, const char *service, store_t **out, diag_t *diag);
  int (*tool)(const char *service, const tool_call_t *call, diag_t *diag);
} stores[] = {
    {"", file_open, file_tool},
};

static size_t store_of(const char *database)
{
  size_t i = 0;
  while (strncmp(database, stores[i].prefix, strlen(stores[i].prefix)) != 0)
    i++;
  return i;
}

int stores_open(const service_env_t *env, const char *service, store_t **out, diag_t *diag)
{
  return stores[store_of(env->database)].open(env, service, out, diag);
}

int stores_tool(const char *service, const tool_call_t *call, diag_t *diag)
{
  return stores[store_of(call->database)].tool(service, call, diag);
}

typedef struct checking {
  store_call_t call; /* first */
  void (*done)(void *ctx, int err, const char *why);
  void *ctx;
} checking_t;

static void on_checked(store_call_t *call, int err)
{
  checking_t *c = (checking_t *)call;
  char why[DIAG_TEXT_MAX] = "";
  if (err)
    snprintf(why, sizeof why, "the database does not answer: %s", smpl_strerror(err));
  c->done(c->ctx, err, why);
  free(c);
}

void stores_check(store_t *store, void (*done)(void *ctx, int err, const char *why), void *ctx)
{
  checking_t *c = calloc(1, sizeof *c);
  if (c == NULL) {
    done(ctx, SMPL_ENOMEM, "out of memory");
    return;
  }
  *c = (checking_t){.call = {.op = STORE_CHECK, .done = on_checked}, .done = done, .ctx = ctx};
  store_ask(store, &c->call);
}
