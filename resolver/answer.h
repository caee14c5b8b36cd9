/* From a client's message to the answer: everything that decides what is said. Pure: no I/O, no
 * allocation, no lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolver/view.h"

typedef enum answer_transport { ANSWER_UDP, ANSWER_TCP } answer_transport_t;

/* What became of a message, for the counters. */
typedef struct answer_note {
  uint16_t rcode;
  bool truncated;
} answer_note_t;

/* Answers the message as the view sees the world; view NULL is a client without one. out has room for cap
 * bytes: at least REPLY_CAP_MIN, over UDP UDP_REPLY_MAX and over TCP MESSAGE_MAX. Returns the answer's
 * length, 0 when nothing is to be sent. A client whose view holds no zone for the name gets the same
 * refusal whatever the name, the type, the class and the opcode (invariant 2). */
size_t answer(const view_t *view, answer_transport_t transport, const uint8_t *msg, size_t len, uint8_t *out,
              size_t cap, answer_note_t *note);
