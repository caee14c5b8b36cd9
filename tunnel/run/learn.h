/* SPDX-License-Identifier: Apache-2.0 */
/* Learns the facts that ready needs: names, ports, whether the targets can be reached. It also hears the
 * bastion's announcements. */
#pragma once

#include <jansson.h>

#include "tunnel/run/carry.h"
#include "tunnel/run/resolve.h"

typedef struct learn {
  resolve_t resolve;
  carry_t *carry;
  bool checked;                       /* the targets' checks are under way */
  char last_event[DIAG_TEXT_MAX / 2]; /* the bastion's announcement of the end; "" none */
  char last_reason[64];
} learn_t;

/* A session stands: asks for the name, host and port of every route. */
void learn_start(learn_t *learn);
/* LEARNING: whether a step further is possible, it is made. */
void learn_step(learn_t *learn);
/* ctx: the learn_t. For ask_new. */
void learn_event(void *ctx, const json_t *event);
