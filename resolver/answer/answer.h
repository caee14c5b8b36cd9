/* SPDX-License-Identifier: Apache-2.0 */
/* From a client's message to the answer: everything that decides what is said. Pure: no I/O, no
 * allocation, no lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolver/limits.h"
#include "resolver/view/view.h"

typedef enum answer_transport { ANSWER_UDP, ANSWER_TCP } answer_transport_t;

/* What became of a message, for the counters and for who fills in the cookie. */
typedef struct answer_note {
  const zone_t *zone; /* that the question's name is of; NULL: the view has none */
  uint16_t rcode;
  bool truncated;
  uint16_t
      cookie_at; /* in the answer: room for the server cookie, still zero; 0: the client sent no cookie */
  uint8_t server_cookie_len; /* what the client says is ours: 0 if it sent its own part alone */
  const uint8_t *cookie;     /* in the message: the client's part, behind it the server's */
} answer_note_t;

/* Answers the message as the view sees the world; view NULL is a client without one. out has room for cap
 * bytes: at least REPLY_CAP_MIN, over UDP UDP_REPLY_MAX and over TCP MESSAGE_MAX. Returns the answer's
 * length, 0 when nothing is to be sent. A client whose view holds no zone for the name gets the same
 * refusal whatever the name, the type, the class and the opcode (invariant 2). */
size_t answer(const view_t *view, answer_transport_t transport, const uint8_t *msg, size_t len, uint8_t *out,
              size_t cap, answer_note_t *note);

/* The short answer that a client above its rate gets instead: BADCOOKIE, with room for a fresh cookie, if it
 * sent one (RFC 7873 section 5.2.3), otherwise TC, to ask again over TCP. Nothing in it depends on any zone.
 * To what cannot be read, the same as answer(). */
size_t answer_short(const uint8_t *msg, size_t len, uint8_t *out, answer_note_t *note);

/* What was looked up on the way to an answer, name by name: the name asked, then the target of each alias. */
typedef struct answer_step {
  dns_name_t name;     /* lower-case */
  zone_in_view_t zone; /* zone.zone NULL: the view has none for this name, the walk ended here */
  zone_match_t match;
} answer_step_t;

enum { ANSWER_STEPS_MAX = CHAIN_MAX + 1 };

typedef struct answer_trace {
  answer_step_t steps[ANSWER_STEPS_MAX];
  size_t count;
} answer_trace_t;

/* The same decision by the same code, written down. trace may be NULL; its zones live as long as the view's.
 */
size_t answer_traced(const view_t *view, answer_transport_t transport, const uint8_t *msg, size_t len,
                     uint8_t *out, size_t cap, answer_note_t *note, answer_trace_t *trace);
