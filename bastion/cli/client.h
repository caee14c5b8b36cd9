/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that talk to a running bastion, and `history`: text for people, --json for programs. */
#pragma once

#include "common/base/diag.h"
#include <stdbool.h>

typedef struct client_args {
  const char *socket;
  const char *audit; /* history only */
  const char *user;
  const char *since;
  const char *until;
  const char *reason;
  const char *id;
  const char *target;
  const char *who;
  unsigned watch_s; /* sessions: again every so many seconds; 0: once */
  bool json;
} client_args_t;

/* Each prints its answer and returns 0, or an error with its one line in diag. */
int client_sessions(const client_args_t *args, diag_t *diag);
int client_status(const client_args_t *args, diag_t *diag);
int client_terminate(const client_args_t *args, diag_t *diag);
int client_reload(const client_args_t *args, diag_t *diag);
/* args->who is a user's name or a key's fingerprint; args->reason is needed to block. */
int client_block(const client_args_t *args, diag_t *diag);
int client_unblock(const client_args_t *args, diag_t *diag);
int client_blocks(const client_args_t *args, diag_t *diag);
/* audit verify: files of the audit in order, or args->audit without any; head may be NULL. */
int client_verify(const client_args_t *args, const char *head, char *const *files, int count, diag_t *diag);
int client_history(const client_args_t *args, diag_t *diag);
/* *allowed is the decision. */
int client_explain(const client_args_t *args, bool *allowed, diag_t *diag);
