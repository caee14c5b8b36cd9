/* SPDX-License-Identifier: Apache-2.0 */
/* What may be signed for the process that speaks with the bastion: a login of this user with the key that was
 * offered, to the session that the host whose key was believed has signed, and nothing else. So a process
 * that was taken over cannot have a login to another server signed. Pure. */
#pragma once

#include <stdbool.h>

#include "common/ssh/signedreq.h"

typedef struct permit {
  const char *user;
  cursor_t host_key; /* the one that was believed: its blob */
  cursor_t proof;    /* its signature of the session's id; empty: none, and nothing is signed */
  uint8_t session[SIGNEDREQ_SESSION_HASH_MAX]; /* its id: the first request has it */
  size_t session_len;                          /* 0: none has been seen */
} permit_t;

/* The request that is to be signed with this key (its blob). False: it is another thing. */
bool permit_allows(permit_t *permit, cursor_t data, cursor_t key, signedreq_t *request);
