/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that talk to a running bastion, and `history`: text for people, --json for programs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/diag.h"

typedef struct operator_args {
  const char *socket;
  const char *audit; /* history only */
  const char *user;
  const char *since;
  const char *until;
  const char *reason;
  const char *id;
  const char *target;
  const char *who;
  unsigned watch_s;    /* sessions: again every so many seconds; 0: once */
  uint64_t timeout_ms; /* for the answer */
  bool json;
} operator_args_t;

/* Each prints its answer and returns 0, or an error with its one line in diag. */
int operator_sessions(const operator_args_t *args, diag_t *diag);
int operator_status(const operator_args_t *args, diag_t *diag);
int operator_terminate(const operator_args_t *args, diag_t *diag);
int operator_reload(const operator_args_t *args, diag_t *diag);
/* args->who is a user's name or a key's fingerprint; args->reason is needed to block. */
int operator_block(const operator_args_t *args, diag_t *diag);
int operator_unblock(const operator_args_t *args, diag_t *diag);
int operator_blocks(const operator_args_t *args, diag_t *diag);
/* audit verify: files of the audit in order, or args->audit without any; head may be NULL. */
int operator_verify(const operator_args_t *args, const char *head, char *const *files, int count,
                    diag_t *diag);
int operator_history(const operator_args_t *args, diag_t *diag);
/* *allowed is the decision. */
int operator_explain(const operator_args_t *args, bool *allowed, diag_t *diag);
