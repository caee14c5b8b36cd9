/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of a front: where they are taken from and given back to, their ids, and what they hold and
 * handlers owe altogether. Private to the http side; loop's thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/http/parse.h"
#include "app/http/request.h"

enum {
  REQUESTS_SPARE = 64,         /* structs kept for reuse */
  REQUESTS_ID_PREFIX_LEN = 16, /* of a minted id */
};

struct requests {
  parse_t *parse; /* where big bodies are parsed */
  request_t *spare;
  size_t spare_count;
  size_t owed;                                /* that a handler has not replied to */
  size_t values;                              /* parsed JSON values of small bodies */
  char id_prefix[REQUESTS_ID_PREFIX_LEN + 1]; /* hexadecimal, drawn once */
  uint64_t id_next;
};

/* All but parse. SMPL_ESYS: there are no random numbers. */
int requests_open(requests_t *requests);
/* Once all are given back. */
void requests_close(requests_t *requests);

/* With an id of its own. NULL when out of memory. */
request_t *requests_take(requests_t *requests);
/* Its body must not be away (parse_is_away). */
void requests_give_back(request_t *request);

/* A handler or guard has the request until it says something; then it owes nothing any more. Each may be
 * called again. */
void requests_owe(request_t *request);
void requests_settle(request_t *request);
