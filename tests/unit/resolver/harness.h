/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the resolver's unit tests: zones from text, questions, answers as text. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/diag.h"
#include "resolver/answer/answer.h"
#include "resolver/view/view.h"
#include "resolver/zone/zone.h"

enum { HARNESS_TEXT = 1 << 18 };

/* A zone that must load. origin without final dot, name may carry a tag. */
zone_t *harness_zone(const char *name, const char *text);
/* A zone that must not load; returns the message, valid until the next call. */
const char *harness_zone_error(const char *name, const char *text);
/* A view of up to four zones, NULL after the last. */
view_t *harness_view(const char *name, zone_t *a, zone_t *b, zone_t *c);

typedef struct ask {
  const char *name; /* as text; its case is kept */
  uint16_t type;
  bool edns;
  uint16_t size; /* EDNS, 0: 1232 */
  uint8_t version;
  bool tcp;
  uint16_t flags; /* of the header */
  uint16_t klass; /* 0: IN */
} ask_t;

/* The query's wire; returns its length. buf has 512 bytes. */
size_t harness_query(const ask_t *ask, uint8_t *buf);
/* Asks and returns the answer's wire length; out has 65535 bytes. The buffers are exact, so that
 * sanitizers see overruns. */
size_t harness_ask(const view_t *view, const ask_t *ask, uint8_t *out);
/* "NOERROR aa | answer records, one a line, blanks for tabs | authority: ... | additional: ..." valid
 * until the next call. */
const char *harness_text(const view_t *view, const ask_t *ask);

/* answer() and answer_short() over UDP, of one message. Return the answer's length. */
size_t harness_answer(const view_t *view, exchange_transport_t transport, const uint8_t *msg, size_t len,
                      uint8_t *out, size_t cap, exchange_note_t *note);
size_t harness_short(const uint8_t *msg, size_t len, uint8_t *out, exchange_note_t *note);
