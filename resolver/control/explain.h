/* SPDX-License-Identifier: Apache-2.0 */
/* Why a client gets the answer it gets: the server's own decision, step by step, as JSON. */
#pragma once

#include <jansson.h>

#include "common/base/diag.h"
#include "resolver/view/snapshot.h"

typedef struct explain_question {
  dns_name_t name; /* lower-case */
  uint16_t type;
  ip_t from;
  bool at_listener; /* otherwise every dns listener is explained */
  endpoint_t listener;
} explain_question_t;

/* From what people write; type NULL is A, listener may be NULL. SMPL_EINVAL with a message. */
int explain_read(const char *name, const char *type, const char *from, const char *listener,
                 explain_question_t *out, diag_t *diag);

/* {"ok": true, "name", "type", "from", "listeners": [{"listener", "network", "view", "steps", "answer",
 * "why", "change"}]}. NULL with a message: no such listener, out of memory. */
json_t *explain(const snapshot_t *s, const explain_question_t *q, diag_t *diag);
