/* SPDX-License-Identifier: Apache-2.0 */
/* A question asked without sending anything: through the code that answers clients, for those who want to
 * know what it would say and why. */
#pragma once

#include <stdint.h>

#include "common/base/diag.h"
#include "resolver/answer/answer.h"

typedef struct probe {
  exchange_note_t note;
  answer_trace_t trace;
  size_t len;
  uint8_t wire[MESSAGE_MAX];
} probe_t;

/* Asks as a client of view (NULL: of none) with EDNS would. Big: not for the stack. */
void probe_ask(const view_t *view, exchange_transport_t transport, const dns_name_t *name, uint16_t type,
               probe_t *out);

/* Flags of the answer's header. */
uint16_t probe_flags(const probe_t *p);

/* Calls each with every record, OPT aside. text is "owner TTL class type data", and tail the part from the
 * type on. Both are one line, valid for the call. SMPL_ENOMEM. */
typedef void (*probe_each_t)(void *ctx, unsigned section, const dns_rr_t *rr, const char *text,
                             const char *tail);
int probe_records(const probe_t *p, probe_each_t each, void *ctx);

/* "A", "TYPE65280"; SMPL_EINVAL. */
int probe_type(const char *text, uint16_t *out);
enum { PROBE_TYPE_MAX = 16 };
char *probe_type_text(uint16_t type, char *buf);
